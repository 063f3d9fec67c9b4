use std::time::{Duration, Instant};

use crate::client::pace::Pace;

#[tokio::test]
async fn nothing_is_due_before_its_time_and_nothing_is_lost() {
    let mut pace = Pace::new(1_000).unwrap();
    let mut dues = Vec::new();
    while dues.len() < 5 {
        pace.tick().await.unwrap();
        while let Some(due) = pace.due() {
            assert!(due <= Instant::now() && due < pace.next());
            dues.push(due);
        }
    }
    let apart = dues.iter().zip(dues.iter().skip(1)).map(|(one, next)| *next - *one);
    assert!(apart.into_iter().all(|apart| apart == Duration::from_millis(1)));
}
