//! The size of a store that is overwritten again and again; `soak` does it on a larger scale.

use aft_tests::soak::Soak;

#[tokio::test(start_paused = true)]
async fn small_values() {
    let soak = Soak {
        keys: 2_000,
        rounds: 50,
        per_commit: 50,
        value_bytes: 100,
        large_every: usize::MAX,
        large_bytes: 0,
    };
    let soaked = soak.run().await;
    assert_eq!(soaked.check(), Ok(()), "{soaked:#?}");
    assert!(soaked.whole_ratio < 4.0, "{soaked:#?}");
}

#[tokio::test(start_paused = true)]
async fn large_values() {
    let soak =
        Soak { keys: 500, rounds: 50, per_commit: 25, value_bytes: 100, large_every: 1, large_bytes: 3_000 };
    let soaked = soak.run().await;
    assert_eq!(soaked.check(), Ok(()), "{soaked:#?}");
    assert!(soaked.whole_ratio < 2.0, "{soaked:#?}");
}
