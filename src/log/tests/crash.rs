//! Crashes anywhere, any subset of the unsynced sectors, any number of shards: what was acknowledged comes back, as a prefix.

use super::driver::{Driver, tiny};
use crate::base::prng::Prng;

fn run(seed: u64, shards: u8) -> Vec<char> {
    let mut prng = Prng::from_seed(seed);
    let mut letters = Vec::new();
    let mut driver = Driver::new(tiny(shards));
    for _ in 0..6 {
        let crash_after = prng.chance(1, 3).then(|| prng.index(40));
        let (letter, finished) = driver.start(crash_after);
        letters.push(letter);
        if finished {
            for _ in 0..prng.below(250) {
                driver.act(&mut prng);
            }
        }
        // A killed process loses nothing that it wrote; a power cut loses what wasn't synced.
        if prng.chance(3, 4) {
            driver.disk = driver.disk.after_power_cut(&mut prng);
        }
    }
    driver.start(None);
    letters
}

#[test]
fn what_was_acknowledged_survives_any_crash() {
    let mut seen = std::collections::BTreeMap::<char, u32>::new();
    for shards in [1, 2, 4] {
        for seed in 0..400 {
            run(seed * 7 + u64::from(shards), shards).into_iter().for_each(|letter| *seen.entry(letter).or_default() += 1);
        }
    }
    for letter in ['A', 'B', 'D', 'E', 'F'] {
        assert!(seen.get(&letter).is_some_and(|n| *n > 5), "case {letter} is hardly ever met: {seen:?}");
    }
}

#[test]
fn a_crash_after_each_step_of_one_workload_loses_nothing_acknowledged() {
    for shards in [1, 2, 4] {
        for steps in 0..160 {
            let mut prng = Prng::from_seed(31 + u64::from(shards));
            let mut driver = Driver::new(tiny(shards));
            driver.start(None);
            for _ in 0..steps {
                driver.act(&mut prng);
            }
            let (history, epochs, acked) = (driver.history.clone(), driver.epochs.clone(), driver.acked);
            let disk = driver.disk.clone();
            for subset in 0..6 {
                driver.disk = disk.after_power_cut(&mut Prng::from_seed(subset));
                (driver.history, driver.epochs, driver.acked) = (history.clone(), epochs.clone(), acked);
                driver.start(None);
            }
        }
    }
}

#[test]
fn a_crash_after_each_step_of_a_first_and_a_second_start_is_harmless() {
    for cut in 0..60 {
        for subset in 0..4 {
            let mut driver = Driver::new(tiny(2));
            driver.start(Some(cut));
            driver.disk = driver.disk.after_power_cut(&mut Prng::from_seed(subset));
            driver.start(None);
            let mut prng = Prng::from_seed(subset);
            for _ in 0..60 {
                driver.act(&mut prng);
            }
            driver.start(Some(cut));
            driver.disk = driver.disk.after_power_cut(&mut Prng::from_seed(subset + 100));
            driver.start(None);
        }
    }
}

#[test]
fn what_a_failed_sync_of_a_start_left_behind_is_written_again_by_the_next() {
    for shards in [1, 2, 4] {
        for cut in 0..20 {
            for seed in 0..8 {
                let prng = &mut Prng::from_seed(seed * 31 + cut as u64);
                let mut driver = Driver::new(tiny(shards));
                driver.start(None);
                for _ in 0..60 {
                    driver.act(prng);
                }
                // Killed: appends on their way are in the device's cache at best.
                driver.start(Some(cut));
                driver.disk.sync_fails(prng);
                driver.start(None);
                driver.disk = driver.disk.after_power_cut(prng);
                driver.start(None);
            }
        }
    }
}
