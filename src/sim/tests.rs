//! The simulator judged by itself: the same seed is the same run, and its oracles see what is wrong.

use super::options::Options;
use super::run::run;
use super::world::Verdict;

#[test]
fn a_seed_reproduces_its_run_to_the_bit() {
    for seed in [1, 2, 3] {
        let options = Options::draw(seed);
        let (a, b) = (run(&options, false), run(&options, false));
        assert_eq!((a.hash, &a.verdict), (b.hash, &b.verdict), "seed {seed}");
        assert!(matches!(a.verdict, Ok(Verdict::Passed | Verdict::Refused)), "seed {seed}: {:?}", a.verdict);
    }
}
