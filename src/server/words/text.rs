//! Small pieces of text as Java writes them: numbers with a fraction, dates; and appending to an answer.

use std::fmt;
use std::io::Write;

/// Appends formatted text to an answer.
pub(super) fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to a Vec can't fail.
    let _ = out.write_fmt(text);
}

/// A number as `Double.toString` writes it: always with a fraction, `1.0E-4` below a thousandth, `1.0E7` from ten million.
#[must_use]
pub fn java_double(n: f64) -> String {
    if n.is_nan() {
        return "NaN".into();
    }
    if n.is_infinite() {
        return if n > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let size = n.abs();
    let plain = size == 0.0 || (1e-3..1e7).contains(&size);
    // Both of Rust's forms have the fewest digits that read back as the same number.
    if plain {
        return format!("{n:?}");
    }
    let scientific = format!("{n:E}");
    match scientific.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => scientific,
    }
}

/// An average as ZooKeeper shows it, rounded to four decimals; 0 of nothing.
#[must_use]
pub fn average(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { (sum as f64 / count as f64 * 1e4).round() / 1e4 }
}

/// Days of the week from the Thursday on which 1970 began.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_MS: i64 = 86_400_000;

/// A moment in milliseconds since 1970 as `Date.toString` writes it in UTC: `Sun Nov 22 10:13:32 UTC 2026`.
#[must_use]
pub fn java_date(wall_ms: i64) -> String {
    let days = wall_ms.div_euclid(DAY_MS);
    let second = wall_ms.rem_euclid(DAY_MS) / 1000;
    let (year, month, day) = civil_date(days);
    // Both indices come out of a remainder or a range of that size.
    let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday} {month} {day:02} {:02}:{:02}:{:02} UTC {year:04}", second / 3600, second / 60 % 60, second % 60)
}

/// A moment as it stands in the version line, in UTC: `2026-11-22 10:13`.
#[must_use]
pub fn minute(wall_ms: i64) -> String {
    let (year, month, day) = civil_date(wall_ms.div_euclid(DAY_MS));
    let second = wall_ms.rem_euclid(DAY_MS) / 1000;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", second / 3600, second / 60 % 60)
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar.
fn civil_date(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day ends one; 400 of them have 146,097 days.
    let from_march_0000 = days + 719_468;
    let era = from_march_0000.div_euclid(146_097);
    let day_of_era = from_march_0000.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months from March have 153 days, again and again.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_look_as_in_java() {
        for (n, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.25, "0.25"),
            (10.4, "10.4"),
            (1.0, "1.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (0.00025, "2.5E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (-3.0, "-3.0"),
            (1e300, "1.0E300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(java_double(n), text);
        }
    }

    #[test]
    fn averages_have_four_decimals_at_most() {
        assert_eq!(java_double(average(1, 3)), "0.3333");
        assert_eq!(java_double(average(2, 3)), "0.6667");
        assert_eq!(java_double(average(1, 10_000)), "1.0E-4");
        assert_eq!(java_double(average(7, 0)), "0.0");
    }

    #[test]
    fn dates_of_known_moments() {
        for (ms, text) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_795_342_412_999, "Sun Nov 22 10:13:32 UTC 2026"),
            (4_102_444_799_000, "Thu Dec 31 23:59:59 UTC 2099"),
            (4_107_542_400_000, "Mon Mar 01 00:00:00 UTC 2100"),
        ] {
            assert_eq!(java_date(ms), text);
        }
        assert_eq!(minute(1_795_342_412_999), "2026-11-22 10:13");
        assert!(!java_date(i64::MAX).is_empty() && !java_date(i64::MIN).is_empty());
    }
}
