//! HTTP/2 frame by frame.

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use mesh_tests::wire::{End, Frame, Http2, block, flag, kind};
use mesh_tests::world::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const HEAD: [(&str, &[u8]); 4] = [
    (":method", b"GET"),
    (":scheme", b"http"),
    (":authority", b"orders"),
    (":path", b"/hold"),
];

fn get(path: &'static str) -> [(&'static str, &'static [u8]); 4] {
    let [method, scheme, authority, _] = HEAD;
    [method, scheme, authority, (":path", path.as_bytes())]
}

/// J5: requests that are reset at once, a few at a time, so that no queue of resets ever fills.
#[tokio::test]
async fn rapid_resets_in_small_doses() {
    let scene = Scene::new().await;
    let mut connection = Http2::connect(scene.address).await;
    let mut sent = 0;
    while sent < 20_000 && !connection.is_going {
        let mut frames = Vec::new();
        for _ in 0..5 {
            let stream = connection.stream();
            frames.push(Frame::head(stream, &HEAD, true));
        }
        if !connection.send(&frames).await {
            break;
        }
        // Each request is with its handler before it is reset.
        let reached = sent + frames.len();
        let served = || scene.backend.hits() >= reached || scene.cut("given_up") > 0;
        until("the requests are begun", served).await;
        let resets: Vec<Frame> = frames.iter().map(|frame| Frame::reset(frame.stream)).collect();
        sent = reached;
        if !connection.send(&resets).await {
            break;
        }
    }
    assert!(sent <= 1_000, "{sent} handlers were started for nobody");
    assert!(connection.closes().await);
    assert_eq!(scene.cut("given_up"), 1);
    scene.lives().await;
}

/// A frame on a stream that makes the server reset it.
type Trick = fn(u32) -> Frame;

/// J5: resets that the server is brought to make itself.
#[tokio::test]
async fn resets_that_the_server_is_made_to_send() {
    let scene = Scene::new().await;
    let open = |stream| Frame::head(stream, &HEAD, true);
    let tricks: [(&str, Trick); 5] = [
        ("a window of nothing", |stream| {
            Frame::new(kind::WINDOW_UPDATE, 0, stream, 0_u32.to_be_bytes())
        }),
        ("a window too large", |stream| {
            Frame::new(kind::WINDOW_UPDATE, 0, stream, 0x7fff_ffff_u32.to_be_bytes())
        }),
        ("data after the end", |stream| {
            Frame::new(kind::DATA, 0, stream, *b"more")
        }),
        ("a head after the end", |stream| Frame::head(stream, &HEAD, true)),
        ("a broken priority", |stream| {
            Frame::new(kind::PRIORITY, 0, stream, *b"x")
        }),
    ];
    for (trick, frame) in tricks {
        let mut connection = Http2::connect(scene.address).await;
        let mut sent = 0;
        while sent < 5_000 && !connection.is_going {
            let stream = connection.stream();
            if !connection.send(&[open(stream), frame(stream)]).await {
                break;
            }
            sent += 1;
            if sent % 100 == 0 {
                connection.read().await;
            }
        }
        assert!(connection.closes().await, "{trick}");
        assert!(sent < 5_000, "{trick}: {sent}");
    }
    scene.lives().await;
}

/// J6: heads without an end, settings, pings and priorities without number, a bomb of header compression.
#[tokio::test]
async fn floods_of_frames_that_are_no_requests() {
    let scene = Scene::new().await;
    let before = resident();
    let filler = [("x-filler", &[b'x'; 16_000][..])];

    let mut endless = Http2::connect(scene.address).await;
    let stream = endless.stream();
    endless
        .send(&[Frame::new(kind::HEADERS, 0, stream, block(&HEAD))])
        .await;
    let mut frames = 0;
    while frames < 10_000
        && endless
            .send(&[Frame::new(kind::CONTINUATION, 0, stream, block(&filler))])
            .await
    {
        frames += 1;
    }
    assert!(frames < 10_000, "a head of {frames} frames was taken");
    assert!(endless.closes().await);

    // One entry of the dynamic table, named 16 000 times: 64 MB of headers in 16 KB.
    let mut bomb = Http2::connect(scene.address).await;
    let stream = bomb.stream();
    let mut payload = block(&HEAD);
    payload.extend([0x40, 1, b'x', 127, 0xa1, 0x1e]);
    payload.extend([b'y'; 4000]);
    payload.extend([0xbe; 12_000]);
    bomb.send(&[Frame::new(
        kind::HEADERS,
        flag::END_HEADERS | flag::END_STREAM,
        stream,
        payload,
    )])
    .await;
    assert_ne!(bomb.end(stream).await, End::Answered(true));

    for flood in [
        Frame::new(kind::SETTINGS, 0, 0, [0, 4, 0, 0, 255, 255]),
        Frame::new(kind::PING, 0, 0, [0; 8]),
        Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 9]),
    ] {
        // Nobody reads what is answered.
        let mut connection = Http2::connect(scene.address).await;
        let doses = vec![flood; 1_000];
        for _ in 0..100 {
            let sending = tokio::time::timeout(Duration::from_millis(200), connection.send(&doses));
            if !sending.await.unwrap_or(false) {
                break;
            }
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
    assert_eq!(scene.backend.hits(), 0);
    scene.lives().await;
}

/// The memory of this process, in KiB; 0 where the system does not tell.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.split_whitespace().next().unwrap().parse().unwrap())
}

/// J9: more streams than the server said it takes.
#[tokio::test]
async fn more_streams_than_were_offered() {
    let scene = Scene::new().await;
    let mut connection = Http2::connect(scene.address).await;
    let frames: Vec<Frame> = (0..1_000)
        .map(|_| Frame::head(connection.stream(), &HEAD, true))
        .collect();
    connection.send(&frames).await;
    let last = frames.last().unwrap().stream;
    assert_ne!(connection.end(last).await, End::Answered(true));
    let (answered, refused) = connection.tally();
    assert!(answered == 0 && (800..1_000).contains(&refused), "{answered} {refused}");
    until("as many as are allowed wait", || {
        scene.backend.held() == 1_000 - refused
    })
    .await;
    scene.backend.release(1_000);
    for frame in &frames[..100] {
        assert_eq!(connection.end(frame.stream).await, End::Answered(true));
    }
}

/// J12: data without bytes.
#[tokio::test]
async fn data_without_bytes() {
    let scene = Scene::new().await;
    let mut connection = Http2::connect(scene.address).await;
    let stream = connection.stream();
    connection.send(&[Frame::head(stream, &get("/upload"), false)]).await;
    let nothing = vec![Frame::new(kind::DATA, 0, stream, []); 100];
    let mut doses = 0;
    while doses < 1_000 && connection.send(&nothing).await {
        doses += 1;
    }
    assert!(connection.closes().await);
    assert!(
        doses < 1_000 && connection.goaway.is_some(),
        "{doses} {:?}",
        connection.goaway
    );
    scene.lives().await;
}

/// J7: a connection that is HTTP/2 by its first bytes, and has no request in the time for one.
#[tokio::test]
async fn prefaces_that_no_request_follows() {
    let scene = Scene::with(|builder| builder.header_timeout(SHORT)).await;
    scene.world.write("mesh.yaml", "mesh: { live: { drain: 100ms } }\n");
    let files = || scene.mesh.policy_status().files.len() == 3;
    until("the policy is read", files).await;
    let mut used = Http2::connect(scene.address).await;
    let stream = used.stream();
    used.send(&[Frame::head(stream, &get("/"), true)]).await;
    assert_eq!(used.end(stream).await, End::Answered(true));

    let mut half = TcpStream::connect(scene.address).await.unwrap();
    half.write_all(b"PRI * HTTP/2").await.unwrap();
    let mut whole = Http2::connect(scene.address).await;
    // The server speaks first: its settings.
    mesh_tests::wire::rest(&mut half).await;
    assert!(whole.closes().await, "a preface and settings");
    assert_eq!((whole.is_going, whole.goaway), (true, None), "it is told");

    let stream = used.stream();
    used.send(&[Frame::head(stream, &get("/"), true)]).await;
    assert_eq!(used.end(stream).await, End::Answered(true), "one request is enough");
    scene.lives().await;
}

/// Answers that have no body are sent without one, and are whole with their head.
#[tokio::test]
async fn answers_that_have_no_body() {
    let scene = Scene::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mesh, address) = (scene.mesh.clone(), listener.local_addr().unwrap());
    let app = Router::new()
        .route(
            "/none",
            axum::routing::get(|| async { (StatusCode::NO_CONTENT, "none") }),
        )
        .route(
            "/same",
            axum::routing::get(|| async { (StatusCode::NOT_MODIFIED, "same") }),
        );
    tokio::spawn(async move { mesh.serve(listener, app).await.unwrap() });

    let head = b"HEAD /admin HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n";
    let answer = mesh_tests::wire::exchange(address, head).await;
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    assert!(answer.contains("content-length: 19\r\n"), "{answer}");

    let mut connection = Http2::connect(address).await;
    for (bare, (method, path)) in [("HEAD", "/admin"), ("GET", "/none"), ("GET", "/same")]
        .iter()
        .enumerate()
    {
        let stream = connection.stream();
        let mut fields = get(path);
        fields[0].1 = method.as_bytes();
        connection.send(&[Frame::head(stream, &fields, true)]).await;
        assert_eq!(connection.end(stream).await, End::Answered(false), "{path}");
        assert_eq!(connection.bare, bare + 1, "{path}: data followed");
    }
    let metrics = || scene.mesh.metrics().render();
    until("all are counted", || metrics().contains("response_code=\"304\"")).await;
    assert!(!metrics().contains("response_flags=\"DC\""), "{}", metrics());
}

/// Panics without the hook, which would print each.
async fn broken() -> &'static str {
    std::panic::resume_unwind(Box::new("broken"))
}

/// A handler that panics is no departure of its caller, who is not cut for it.
#[tokio::test]
async fn handlers_that_panic() {
    let scene = Scene::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mesh, address) = (scene.mesh.clone(), listener.local_addr().unwrap());
    let app = Router::new().route("/broken", axum::routing::get(broken));
    tokio::spawn(async move { mesh.serve(listener, app).await.unwrap() });

    let mut connection = Http2::connect(address).await;
    for turn in 0..600 {
        let stream = connection.stream();
        connection.send(&[Frame::head(stream, &get("/broken"), true)]).await;
        assert_eq!(connection.end(stream).await, End::Reset, "{turn}");
    }
    assert_eq!(scene.cut("given_up"), 0);
    let metrics = scene.mesh.metrics().render();
    assert!(metrics.contains("response_flags=\"UR\""), "{metrics}");
    assert!(!metrics.contains("response_flags=\"DC\""), "{metrics}");
}

/// J8: a caller that asks for much and takes nothing.
#[tokio::test]
async fn answers_that_nobody_takes() {
    let scene = Scene::with(|builder| builder.send_timeout(SHORT)).await;
    let mesh = scene.mesh.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endless = || async {
        let chunk = Bytes::from_static(&[b'x'; 16 * 1024]);
        let chunks = futures_util::stream::repeat_with(move || Ok::<_, std::convert::Infallible>(chunk.clone()));
        Body::from_stream(chunks)
    };
    let app = Router::new().route("/endless", axum::routing::get(endless));
    tokio::spawn(async move { mesh.serve(listener, app).await.unwrap() });

    // The window of all streams is closed, that of the connection is not.
    let mut closed = Http2::connect_with(address, &[(4, 0)]).await;
    let stream = closed.stream();
    closed.send(&[Frame::head(stream, &get("/endless"), true)]).await;
    // Only the head can come.
    assert_eq!(closed.end(stream).await, End::Answered(true));
    // And one that reads no more from its socket.
    let mut stuck = Http2::connect(address).await;
    let stream = stuck.stream();
    stuck.send(&[Frame::head(stream, &get("/endless"), true)]).await;
    assert_eq!(stuck.end(stream).await, End::Answered(true));

    until("both are cut", || scene.cut("slow_response") == 2).await;
    assert!(closed.closes().await);
}

/// J8: the same where the answer is one piece, which is on its way as a whole.
#[tokio::test]
async fn answers_of_one_piece_that_nobody_takes() {
    let scene = Scene::with(|builder| builder.send_timeout(SHORT)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mesh, address) = (scene.mesh.clone(), listener.local_addr().unwrap());
    let large = || async { Bytes::from(vec![b'x'; LARGE]) };
    let app = Router::new().route("/large", axum::routing::get(large));
    tokio::spawn(async move { mesh.serve(listener, app).await.unwrap() });
    let request = b"GET /large HTTP/1.1\r\nhost: orders\r\n\r\n";

    let mut stuck = TcpStream::connect(address).await.unwrap();
    stuck.write_all(request).await.unwrap();
    // It takes the begin.
    let mut first = [0; 12];
    stuck.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    until("it is cut", || scene.cut("slow_response") == 1).await;

    // Whoever takes it slowly, and with pauses, gets all of it.
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(request).await.unwrap();
    let (mut taken, mut piece) = (0, vec![0; LARGE / 8]);
    while taken < LARGE {
        tokio::time::sleep(SHORT / 6).await;
        let length = tokio::time::timeout(LIMIT, slow.read(&mut piece))
            .await
            .unwrap()
            .unwrap();
        assert!(length > 0, "cut after {taken}");
        taken += length;
    }
    // It is idle now, for longer than an answer may wait.
    tokio::time::sleep(SHORT * 2).await;
    slow.write_all(b"GET /none HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(mesh_tests::wire::rest(&mut slow).await.contains("HTTP/1.1 404"));
    assert_eq!(scene.cut("slow_response"), 1);
}

/// More than sockets have room for.
const LARGE: usize = 32 << 20;
const LIMIT: Duration = Duration::from_secs(10);
