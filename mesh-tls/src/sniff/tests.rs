use proptest::prelude::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (far, near) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap().0, far.unwrap())
}

/// G8, TD-1, TD-3: the first byte tells TLS; what is no good TLS after that fails as TLS.
#[test]
fn one_byte_decides() {
    assert_eq!(first_bytes(&[]), Sniffed::NeedMore);
    assert_eq!(first_bytes(&[0x16]), Sniffed::Tls);
    for plain in [&b"G"[..], b"PRI * HTTP/2.0\r\n", b"\x00", b"\x15\x03", b"\x80\x2e\x01"] {
        assert_eq!(first_bytes(plain), Sniffed::Plaintext, "{plain:?}");
    }
}

/// G8: peeked bytes are read again.
#[tokio::test]
async fn a_peek_leaves_every_byte_where_it_was() {
    for (sent, expected) in [(&b"\x16\x03\x01"[..], Sniffed::Tls), (b"GET /", Sniffed::Plaintext)] {
        let (mut near, mut far) = tcp_pair().await;
        far.write_all(sent).await.unwrap();

        assert_eq!(sniff(&near, LIMIT).await.unwrap(), expected);
        drop(far);
        let mut read = Vec::new();
        near.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, sent);
    }
}

/// G8: no byte.
#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up() {
    let (near, _far) = tokio::io::duplex(64);
    let began = tokio::time::Instant::now();

    let error = sniff_stream(near, LIMIT).await.unwrap_err();

    assert!(matches!(error, SniffError::Timeout(LIMIT)));
    assert_eq!(began.elapsed().as_secs(), 10);

    let (near, _far) = tcp_pair().await;
    let error = sniff(&near, LIMIT).await.unwrap_err();
    assert_eq!(error.to_string(), "peer sent nothing within 10s");
}

#[tokio::test]
async fn a_look_that_is_given_up_takes_nothing() {
    let (mut near, mut far) = tcp_pair().await;
    let given_up = tokio::time::timeout(Duration::ZERO, sniff(&near, LIMIT)).await;
    assert!(given_up.is_err());
    far.write_all(&[0x16, 0x03]).await.unwrap();

    assert_eq!(sniff(&near, LIMIT).await.unwrap(), Sniffed::Tls);
    let mut read = [0; 2];
    near.read_exact(&mut read).await.unwrap();
    assert_eq!(read, [0x16, 0x03]);
}

#[tokio::test]
async fn a_peer_that_hangs_up_is_told_from_a_silent_one() {
    let (near, far) = tcp_pair().await;
    drop(far);
    assert!(matches!(sniff(&near, LIMIT).await, Err(SniffError::Closed)));

    let (near, far) = tokio::io::duplex(64);
    drop(far);
    assert!(matches!(sniff_stream(near, LIMIT).await, Err(SniffError::Closed)));
}

#[tokio::test]
async fn a_prefixed_stream_writes_through() {
    let (near, mut far) = tokio::io::duplex(64);
    let mut stream = Prefixed::new(b"x".to_vec(), near);

    stream.write_all(b"answer").await.unwrap();
    stream.shutdown().await.unwrap();

    let mut read = Vec::new();
    far.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"answer");
}

proptest! {
    #[test]
    fn what_was_peeked_is_replayed_exactly(
        bytes in proptest::collection::vec(any::<u8>(), 1..200),
        pipe in 1_usize..64,
        chunk in 1_usize..64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let read = runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(pipe);
            let write = async {
                far.write_all(&bytes).await.unwrap();
                drop(far);
            };
            let read = async {
                let (_, mut stream) = sniff_stream(near, LIMIT).await.unwrap();
                let (mut all, mut part) = (Vec::new(), vec![0; chunk]);
                loop {
                    match stream.read(&mut part).await.unwrap() {
                        0 => return all,
                        n => all.extend_from_slice(&part[..n]),
                    }
                }
            };
            tokio::join!(write, read).1
        });
        prop_assert_eq!(read, bytes);
    }
}
