//! The few shapes that the plots are made of, their colours and their letters.
//!
//! White ground, a generic sans-serif face, whole pixels. Swarmwire is the one strong red; every other peer has a calmer colour of its own,
//! the same in every plot, and its congestion controls are shades of it.

use anyhow::{Context, Result};
use plotters::{
    coord::Shift,
    prelude::{
        BLACK, Color, DrawingArea, IntoDrawingArea, PathElement, RGBColor, Rectangle, SVGBackend, Text, WHITE,
    },
    style::{
        FontStyle, IntoFont, IntoTextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::report::cases::SWARM;

/// Lines of a grid and of a frame.
pub(super) const GRID: RGBColor = RGBColor(225, 225, 225);

/// What is said besides: units, sizes.
pub(super) const GREY: RGBColor = RGBColor(95, 95, 95);

/// Height of ordinary letters, in pixels.
pub(super) const LETTERS: i32 = 12;

/// What the drawing library divides a font's size by before it writes it down (`plotters-svg`, `draw_text`).
const FONT_DIVISOR: f64 = 1.24;

/// The face of all letters: whichever the reader's system has.
const FACE: &str = "sans-serif";

/// Width of a letter, for laying out: a little more than the mean of the usual sans-serif faces, which is 0.5 of their height.
const LETTER_WIDTH: f64 = 0.58;

/// A corner or a point, in pixels from the upper left.
pub(super) type Point = (i32, i32);

/// Which end of a text its point is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Left,
    Centre,
    Right,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letters {
    pub(super) anchor: Anchor,
    pub(super) height: i32,
    pub(super) bold: bool,
    pub(super) colour: RGBColor,
}

impl Letters {
    pub(super) fn new(anchor: Anchor) -> Self {
        Self { anchor, height: LETTERS, bold: false, colour: BLACK }
    }

    pub(super) fn grey(self) -> Self {
        Self { colour: GREY, ..self }
    }

    pub(super) fn bold_if(self, bold: bool) -> Self {
        Self { bold, ..self }
    }

    pub(super) fn height(self, height: i32) -> Self {
        Self { height, ..self }
    }
}

/// A picture in the making.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Draws a picture of `width` by `height` pixels and returns its text.
pub(super) fn picture(width: i32, height: i32, paint: impl FnOnce(&Canvas) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    let size =
        |pixels: i32| u32::try_from(pixels).context("failed to draw: a picture's size must be positive");
    let area = SVGBackend::with_string(&mut svg, (size(width)?, size(height)?)).into_drawing_area();
    area.fill(&WHITE).context("failed to draw the ground")?;
    let canvas = Canvas { area };
    paint(&canvas)?;
    canvas.area.present().context("failed to finish the picture")?;
    drop(canvas);
    Ok(compact(&svg))
}

/// Says once, or not at all, what the drawing library says for each shape: half of the file, which is committed.
fn compact(svg: &str) -> String {
    let face = format!(" font-family=\"{FACE}\"");
    let short = svg
        .replace(&face, "")
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "")
        .replace(" text-anchor=\"start\"", "")
        .replace(" stroke-width=\"1\"", "")
        .replace("\n</text>", "</text>");
    let mut text = String::with_capacity(short.len());
    for line in short.lines() {
        text.push_str(line);
        // The library breaks the line before the letters, where the break would count as a blank.
        if !line.starts_with("<text") || line.ends_with("</text>") {
            text.push('\n');
        }
    }
    text.replacen("<svg", &format!("<svg{face}"), 1)
}

impl Canvas<'_> {
    pub(super) fn line(&self, points: &[Point], colour: RGBColor, width: u32) -> Result<()> {
        let style = colour.filled().stroke_width(width);
        self.area.draw(&PathElement::new(points, style)).context("failed to draw a line")
    }

    pub(super) fn filled(&self, corners: [Point; 2], colour: RGBColor) -> Result<()> {
        self.area.draw(&Rectangle::new(corners, colour.filled())).context("failed to draw a bar")
    }

    /// Writes `text` beside `point`, in the middle of its height.
    pub(super) fn text(&self, point: Point, text: &str, letters: Letters) -> Result<()> {
        let horizontal = match letters.anchor {
            Anchor::Left => HPos::Left,
            Anchor::Centre => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let weight = if letters.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = (FACE, f64::from(letters.height) * FONT_DIVISOR).into_font().style(weight);
        let style =
            font.into_text_style(&self.area).color(&letters.colour).pos(Pos::new(horizontal, VPos::Center));
        self.area.draw(&Text::new(text, point, style)).context("failed to draw a text")
    }
}

/// Evenly spaced pixels, without end.
pub(super) fn spaced(first: i32, step: i32) -> impl Iterator<Item = i32> {
    (0..).map(move |number| first + number * step)
}

/// The pixels that a text of ordinary height is wide, for laying out.
pub(super) fn text_width(text: &str) -> i32 {
    let letters = i32::try_from(text.chars().count()).unwrap_or(i32::MAX / 100);
    #[expect(clippy::cast_possible_truncation, reason = "a label's width in pixels")]
    let width = (f64::from(letters) * f64::from(LETTERS) * LETTER_WIDTH).ceil() as i32;
    width
}

/// `text`, or its beginning if it has more than `letters_max` letters.
pub(super) fn shortened(text: &str, letters_max: usize) -> String {
    if text.chars().count() <= letters_max {
        return text.to_owned();
    }
    text.chars().take(letters_max.saturating_sub(1)).chain(['…']).collect()
}

/// The colour of a peer under one of TCP's congestion controls.
pub(super) fn colour(peer: &str, tcp: &str) -> RGBColor {
    let base = match peer {
        SWARM => RGBColor(214, 40, 20),
        "rsyncd" => RGBColor(24, 72, 128),
        "rsync-ssh" => RGBColor(78, 150, 214),
        "tar-ssh" | "ssh" => RGBColor(38, 112, 58),
        "scp" => RGBColor(128, 178, 70),
        "rclone" => RGBColor(112, 84, 168),
        "cp" => RGBColor(150, 150, 150),
        "sparsync" => RGBColor(176, 134, 10),
        "syq" => RGBColor(0, 137, 130),
        "qcp" => RGBColor(112, 72, 56),
        "tonic" => RGBColor(24, 72, 128),
        "tonic-large" => RGBColor(78, 150, 214),
        "irpc" => RGBColor(38, 112, 58),
        "quinn" => RGBColor(150, 150, 150),
        "sendme" => RGBColor(186, 104, 176),
        _ => RGBColor(70, 70, 70),
    };
    let tint = if tcp.starts_with("cubic") { mixed(base, WHITE, 0.45) } else { base };
    if tcp.ends_with("+large") { mixed(tint, BLACK, 0.3) } else { tint }
}

/// `share` of `other` in `base`.
pub(super) fn mixed(base: RGBColor, other: RGBColor, share: f64) -> RGBColor {
    let mix = |one: u8, two: u8| {
        let value = f64::from(one) * (1.0 - share) + f64::from(two) * share;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two values of u8"
        )]
        let value = value.round() as u8;
        value
    };
    RGBColor(mix(base.0, other.0), mix(base.1, other.1), mix(base.2, other.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_says_its_face_once_and_its_texts_have_no_line_breaks() {
        let svg = picture(100, 50, |canvas| {
            canvas.text((1, 2), "a < b", Letters::new(Anchor::Left))?;
            canvas.text((1, 20), "c", Letters::new(Anchor::Right).grey())?;
            canvas.line(&[(0, 0), (9, 9)], BLACK, 1)
        })
        .unwrap();
        assert_eq!(svg.matches("font-family").count(), 1);
        assert!(svg.contains(">a &lt; b</text>\n") && svg.contains(">c</text>\n"), "{svg}");
        assert!(svg.contains("font-size=\"12\"") && svg.ends_with("</svg>\n"), "{svg}");
    }

    #[test]
    fn swarm_has_a_colour_that_no_other_peer_has_in_any_shade() {
        let others = [
            "rsyncd",
            "rsync-ssh",
            "tar-ssh",
            "scp",
            "rclone",
            "cp",
            "sparsync",
            "syq",
            "qcp",
            "sendme",
            "new",
        ];
        for (other, tcp) in others.iter().flat_map(|other| ["", "cubic", "bbr+large"].map(|tcp| (other, tcp)))
        {
            assert_ne!(colour(other, tcp), colour(SWARM, ""));
        }
    }

    #[test]
    fn a_long_name_ends_in_an_ellipsis() {
        assert_eq!([shortened("abc", 3), shortened("abcd", 3)], ["abc", "ab…"]);
    }
}
