//! The curves as one small SVG: precision and recall over the threshold, and the two bands.

use std::fmt::Write;

use super::report::Figures;
use super::score::Point;

/// The drawing area: left, top, width, height.
const AREA: (f64, f64, f64, f64) = (48.0, 40.0, 480.0, 260.0);

/// Draws it.
pub(super) fn svg(figures: &Figures) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = draw(&mut out, figures);
    out
}

fn draw(out: &mut String, figures: &Figures) -> std::fmt::Result {
    let (left, top, width, height) = AREA;
    let ends = (figures.curve.first().map_or(0.0, |p| p.threshold), figures.curve.last().map_or(1.0, |p| p.threshold));
    let x = |threshold: f32| left + width * f64::from((threshold - ends.0) / (ends.1 - ends.0).max(0.01));
    let y = |rate: f64| top + height * (1.0 - rate);
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 350" font-family="sans-serif" font-size="12">"#
    )?;
    writeln!(
        out,
        r##"<rect width="660" height="350" fill="#fff"/><text x="{left}" y="22" font-size="14">{}: {} photos, {} people, pack {}</text>"##,
        escaped(&figures.set),
        figures.photos,
        figures.people,
        escaped(&figures.pack)
    )?;
    for tenth in 0..=10 {
        let (rate, at) = (f64::from(tenth) / 10.0, y(f64::from(tenth) / 10.0));
        writeln!(
            out,
            r##"<path d="M{left} {at:.1}h{width}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{rate:.1}</text>"##,
            left - 6.0,
            at + 4.0
        )?;
    }
    for point in figures.curve.iter().filter(|point| ((point.threshold * 100.0).round() as u32).is_multiple_of(10)) {
        writeln!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{:.1}</text>"#,
            x(point.threshold),
            top + height + 18.0,
            point.threshold
        )?;
    }
    for (name, at) in [("maybe", figures.all.maybe_from), ("you", figures.you_from)] {
        writeln!(
            out,
            r##"<path d="M{0:.1} {top}v{height}" stroke="#888" stroke-dasharray="4 3"/><text x="{0:.1}" y="{1:.1}" text-anchor="middle" fill="#555">{name}</text>"##,
            x(at),
            top - 4.0
        )?;
    }
    type Line = (&'static str, &'static str, fn(&Point) -> Option<f64>);
    let lines: [Line; 4] = [
        ("precision", "#1b6ca8", |point| point.precision),
        ("recall", "#1d8348", |point| point.recall),
        ("FNIR", "#b9770e", |point| point.fnir),
        ("FPIR", "#b03a2e", |point| point.fpir),
    ];
    for (number, (name, colour, value)) in lines.into_iter().enumerate() {
        let points: Vec<String> =
            figures.curve.iter().filter_map(|p| Some(format!("{:.1},{:.1}", x(p.threshold), y(value(p)?)))).collect();
        writeln!(out, r#"<polyline fill="none" stroke="{colour}" stroke-width="2" points="{}"/>"#, points.join(" "))?;
        let at = top + 16.0 + 20.0 * number as f64;
        writeln!(
            out,
            r#"<path d="M545 {at}h22" stroke="{colour}" stroke-width="3"/><text x="573" y="{}">{name}</text>"#,
            at + 4.0
        )?;
    }
    writeln!(
        out,
        r#"<text x="{:.1}" y="340" text-anchor="middle">similarity from which photos are shown</text></svg>"#,
        left + width / 2.0
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_curves_and_two_bands_inside_the_frame() {
        let mut figures = super::super::report::tests::figures();
        figures.set = "a < b & c".to_owned();
        let svg = svg(&figures);
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert!(svg.contains("a &lt; b &amp; c") && svg.trim_end().ends_with("</svg>"));
        let numbers = svg
            .split("points=\"")
            .skip(1)
            .flat_map(|rest| rest.split('"').next().unwrap_or_default().split([' ', ',']));
        let numbers: Vec<f64> = numbers.filter_map(|number| number.parse().ok()).collect();
        assert!(numbers.len() > 100 && numbers.iter().all(|n| (0.0..=660.0).contains(n)));
        assert!(roxmltree::Document::parse(&svg).is_ok());
    }
}
