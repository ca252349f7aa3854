//! The `strftime_now` of chat templates. The core reads no clock: the time is handed in.

use std::fmt::Write;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment on the calendar and the clock of the person's own time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CivilTime {
    /// Of the Gregorian calendar.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl CivilTime {
    /// Formats like C's `strftime` in the C locale. A `-` before the letter drops the leading
    /// zeros, as in glibc. Unknown letters stay as they are.
    pub fn format(&self, format: &str) -> String {
        let mut out = String::with_capacity(format.len() * 2);
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let bare = rest.as_str().starts_with('-');
            if bare {
                rest.next();
            }
            match rest.next() {
                Some(letter) => self.field(letter, bare, &mut out),
                None => out.push('%'),
            }
        }
        out
    }

    fn field(&self, letter: char, bare: bool, out: &mut String) {
        let twelve = (self.hour + 11) % 12 + 1;
        let (value, width) = match letter {
            'd' => (i32::from(self.day), 2),
            'm' => (i32::from(self.month), 2),
            'H' => (i32::from(self.hour), 2),
            'I' => (i32::from(twelve), 2),
            'M' => (i32::from(self.minute), 2),
            'S' => (i32::from(self.second), 2),
            'y' => (self.year.rem_euclid(100), 2),
            'Y' => (self.year, 1),
            'j' => (self.day_of_year(), 3),
            'w' => (self.weekday() as i32, 1),
            'u' => ((self.weekday() as i32 + 6) % 7 + 1, 1),
            'C' => (self.year.div_euclid(100), 2),
            'f' => (0, 6),
            // Weeks that begin on a Sunday and on a Monday.
            'U' => ((self.day_of_year() + 6 - self.weekday() as i32) / 7, 2),
            'W' => ((self.day_of_year() + 6 - (self.weekday() as i32 + 6) % 7) / 7, 2),
            _ => return self.words(letter, bare, out),
        };
        let width = if bare { 1 } else { width };
        // Writing to a string cannot fail.
        let _ = write!(out, "{value:0width$}");
    }

    fn words(&self, letter: char, bare: bool, out: &mut String) {
        let month = MONTHS[usize::from(self.month).clamp(1, 12) - 1];
        let day = DAYS[self.weekday()];
        match letter {
            'B' => out.push_str(month),
            'b' | 'h' => out.push_str(&month[..3]),
            'A' => out.push_str(day),
            'a' => out.push_str(&day[..3]),
            'p' => out.push_str(if self.hour < 12 { "AM" } else { "PM" }),
            'e' => {
                let _ = write!(out, "{:2}", self.day);
            }
            'F' => out.push_str(&self.format("%Y-%m-%d")),
            'T' | 'X' => out.push_str(&self.format("%H:%M:%S")),
            'R' => out.push_str(&self.format("%H:%M")),
            'D' | 'x' => out.push_str(&self.format("%m/%d/%y")),
            'c' => out.push_str(&self.format("%a %b %e %H:%M:%S %Y")),
            'k' => {
                let _ = write!(out, "{:2}", self.hour);
            }
            'l' => {
                let _ = write!(out, "{:2}", (self.hour + 11) % 12 + 1);
            }
            'n' => out.push('\n'),
            't' => out.push('\t'),
            '%' => out.push('%'),
            _ => {
                out.push_str(if bare { "%-" } else { "%" });
                out.push(letter);
            }
        }
    }

    /// 0 is Sunday. Sakamoto's method.
    fn weekday(&self) -> usize {
        const SHIFT: [i64; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let month = usize::from(self.month).clamp(1, 12);
        let year = i64::from(self.year) - i64::from(month < 3);
        let days = year + year.div_euclid(4) - year.div_euclid(100)
            + year.div_euclid(400)
            + SHIFT[month - 1]
            + i64::from(self.day);
        days.rem_euclid(7) as usize
    }

    fn day_of_year(&self) -> i32 {
        const BEFORE: [i32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let month = usize::from(self.month).clamp(1, 12);
        let leap = (self.year % 4 == 0 && self.year % 100 != 0) || self.year % 400 == 0;
        BEFORE[month - 1] + i32::from(self.day) + i32::from(leap && month > 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_like_strftime() {
        let time = CivilTime { year: 2026, month: 1, day: 2, hour: 3, minute: 4, second: 5 };
        assert_eq!(time.format("%d %b %Y"), "02 Jan 2026");
        assert_eq!(time.format("%B %d, %Y"), "January 02, 2026");
        assert_eq!(time.format("%A %a %-d %e %j %y %w"), "Friday Fri 2  2 002 26 5");
        assert_eq!(time.format("%H:%M:%S %I %p %F %T %% %q %"), "03:04:05 03 AM 2026-01-02 03:04:05 % %q %");
        let leap = CivilTime { year: 2024, month: 12, day: 31, hour: 12, minute: 0, second: 0 };
        assert_eq!(leap.format("%A %j %I%p %-m"), "Tuesday 366 12PM 12");
    }
}
