//! Small charts as SVG. Colours and type come from the style sheet, so they fit both themes; lines
//! keep their width and words their size however wide the page is.

use std::fmt::Write;

/// The values of one position in a chart.
pub struct ChartPoint {
    /// The time, for people.
    pub label: String,
    /// A class of the style sheet, a name for people, and a count.
    pub parts: Vec<(&'static str, &'static str, i64)>,
}

/// Height of a chart.
const HEIGHT: i64 = 100;

/// Width of a position.
const PLACE: i64 = 10;

/// The smallest readable upper bound: 1, 2 or 5 times a power of ten.
pub fn round_up(most: i64) -> i64 {
    let mut step = 1_i64;
    loop {
        for times in [1, 2, 5] {
            let bound = step.saturating_mul(times);
            if bound >= most.max(1) {
                return bound;
            }
        }
        step = step.saturating_mul(10);
    }
}

/// Stacked bars, one for each position.
pub fn bars(places: &[ChartPoint]) -> String {
    let sum = |place: &ChartPoint| place.parts.iter().map(|(_, _, count)| count).sum::<i64>();
    let top = round_up(places.iter().map(sum).max().unwrap_or(0));
    let mut svg = open(places.len());
    for (at, place) in places.iter().enumerate() {
        let left = i64::try_from(at).unwrap_or(0) * PLACE;
        let mut said = place.label.clone();
        let mut drawn = String::new();
        // In thousandths, so that small values are visible.
        let mut under = HEIGHT * 1000;
        for (class, name, count) in &place.parts {
            let _ = write!(said, ", {count} {name}");
            let height = count.saturating_mul(HEIGHT * 1000) / top;
            under -= height;
            if height > 0 {
                let _ = write!(
                    drawn,
                    r#"<rect class="{class}" x="{}" y="{}" width="{}" height="{}"/>"#,
                    left + 1,
                    decimal(under),
                    PLACE - 2,
                    decimal(height)
                );
            }
        }
        // The whole column reacts to the pointer, however small its bar is.
        let _ = write!(
            svg,
            r#"<g><title>{}</title><rect class="column" x="{left}" y="0" width="{PLACE}" height="{HEIGHT}"/>{drawn}</g>"#,
            escaped(&said)
        );
    }
    svg + "</svg>"
}

/// Lines of percentages; a gap where there is no value.
pub fn lines(places: usize, series: &[(&'static str, Vec<Option<i64>>)]) -> String {
    let mut svg = open(places);
    for (class, values) in series {
        let mut path = String::new();
        let mut drawing = false;
        for (at, value) in values.iter().enumerate() {
            let Some(value) = value else {
                drawing = false;
                continue;
            };
            let across = i64::try_from(at).unwrap_or(0) * PLACE + PLACE / 2;
            let up = HEIGHT - value.clamp(&0, &100);
            // A single value would have no length, and so be invisible.
            if drawing {
                let _ = write!(path, "L{across} {up}");
            } else {
                let _ = write!(path, "M{} {up}L{across} {up}", across - PLACE / 2);
            }
            drawing = true;
        }
        let _ = write!(svg, r#"<path class="{class}" d="{path}"/>"#);
    }
    svg + "</svg>"
}

/// Decorative, as a table beside it has the same data: hidden from screen readers.
fn open(places: usize) -> String {
    let width = i64::try_from(places).unwrap_or(1).max(1) * PLACE;
    format!(
        r#"<svg class="chart" viewBox="0 0 {width} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true" focusable="false">"#
    )
}

fn decimal(thousandths: i64) -> String {
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::{ChartPoint, bars, lines, round_up};

    #[test]
    fn a_bound_reads_well() {
        let bounds: Vec<i64> = [0, 1, 2, 3, 7, 11, 99, 2_001].map(round_up).into();
        assert_eq!(bounds, [1, 1, 2, 5, 10, 20, 100, 5_000]);
    }

    #[test]
    fn bars_stand_on_each_other_and_say_what_they_are() {
        let svg = bars(&[ChartPoint {
            label: "<b>".to_owned(),
            parts: vec![
                ("good", "sent", 6),
                ("bad", "failed", 4),
                ("rest", "else", 0),
            ],
        }]);
        assert!(
            svg.contains("<title>&lt;b>, 6 sent, 4 failed, 0 else</title>"),
            "{svg}"
        );
        assert!(svg.contains(r#"class="good" x="1" y="40.000" width="8" height="60.000""#));
        assert!(svg.contains(r#"class="bad" x="1" y="0.000" width="8" height="40.000""#));
        assert!(!svg.contains("rest"));
    }

    #[test]
    fn a_line_has_a_gap_where_nothing_is() {
        let svg = lines(3, &[("rate", vec![Some(100), None, Some(0)])]);
        assert!(svg.contains(r#"d="M0 0L5 0M20 100L25 100""#), "{svg}");
    }
}
