//! Invariants: assertions that stay on in release builds and say what broke.
//!
//! An invariant is about our own code. Input from outside never reaches one; it gets an error instead. A host turns the
//! panic into exit status [`crate::base::fatal::Fatal::Invariant`]; the simulator turns it into a failing seed.

/// Stops the process when a statement about our own state is false. Takes a condition and a format string.
#[macro_export]
macro_rules! invariant {
    ($cond:expr, $($arg:tt)+) => {
        if !$cond {
            $crate::base::check::broken(format_args!($($arg)+));
        }
    };
}

/// The cold side of [`invariant!`](crate::invariant).
///
/// # Panics
/// Always.
#[cold]
#[inline(never)]
#[track_caller]
pub fn broken(what: std::fmt::Arguments<'_>) -> ! {
    panic!("invariant broken: {what}");
}
