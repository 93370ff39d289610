//! Stills: before, after and coloured by distance, each from two sides, under one line that says what came out.

use std::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::mono_font::iso_8859_1::{FONT_8X13, FONT_10X20, FONT_10X20 as FONT_TITLE};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::{DrawTarget, Drawable, OriginDimensions, Point as Place, Size};
use embedded_graphics::text::Text;

use super::Subject;
use super::palette::{ALONE, BACKDROP, Colour, SOURCE, TARGET, ramp};
use super::raster::{Camera, Canvas, Picture};
use super::scene::{Scene, placed};
use crate::cloud::Point;
use crate::registration::Status;
use crate::transform::RigidTransform;

const PANEL_WIDTH: usize = 600;
const PANEL_HEIGHT: usize = 440;
const GAP: usize = 8;
const HEADER: usize = 76;
const FOOTER: usize = 44;
/// Points are drawn at twice the size, and the picture is halved.
const POINT_RADIUS: f64 = 2.2;
/// Azimuth and elevation of the two rows, in degrees.
const SIDES: [[f64; 2]; 2] = [[30.0, 35.0], [0.0, 89.0]];
const MARGIN: usize = 18;

const PAPER: Colour = [0xff, 0xff, 0xff];
const PANEL: Colour = [0xf4, 0xf5, 0xf7];
const INK: Colour = [0x1c, 0x21, 0x2b];
const FAINT: Colour = [0x5b, 0x64, 0x73];
const GOOD: Colour = [0x15, 0x80, 0x3d];
const BAD: Colour = [0xb9, 0x1c, 0x1c];

/// What a column shows.
#[derive(Clone, Copy)]
enum Column {
    Before,
    After,
    Distance,
}

/// The stills as the bytes of a PNG file.
pub fn png(subject: &Subject, scene: &Scene) -> Vec<u8> {
    encode(&picture(subject, scene))
}

fn picture(subject: &Subject, scene: &Scene) -> Picture {
    let width = 3 * PANEL_WIDTH + 4 * GAP;
    let height = HEADER + SIDES.len() * (PANEL_HEIGHT + GAP) + FOOTER;
    let mut sheet = Picture::new(width, height, PAPER);
    for (i, column) in [Column::Before, Column::After, Column::Distance].into_iter().enumerate() {
        let left = GAP + i * (PANEL_WIDTH + GAP);
        for (row, [azimuth, elevation]) in SIDES.into_iter().enumerate() {
            let panel = panel(scene, column, azimuth.to_radians(), elevation.to_radians());
            sheet.insert(&panel, left, HEADER + row * (PANEL_HEIGHT + GAP));
        }
        write(&mut sheet, left + 12, HEADER + 24, &FONT_10X20, INK, column.name());
    }
    header(&mut sheet, subject);
    footer(&mut sheet, subject, scene);
    sheet
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Distance => "distance to the target",
        }
    }
}

fn panel(scene: &Scene, column: Column, azimuth: f64, elevation: f64) -> Picture {
    let (place, ball) = match column {
        Column::Before => (&scene.before, scene.before_ball),
        Column::After | Column::Distance => (&scene.after, scene.after_ball),
    };
    let mut canvas = Canvas::new(2 * PANEL_WIDTH, 2 * PANEL_HEIGHT, PANEL);
    let camera = Camera::new(azimuth, elevation, ball);
    let backdrop = if matches!(column, Column::Distance) { BACKDROP } else { TARGET };
    canvas.draw(&camera, POINT_RADIUS, scene.target.points.iter().map(|p| (*p, backdrop)));
    canvas.draw(&camera, POINT_RADIUS, coloured_source(scene, column, place));
    canvas.shaded().halved()
}

fn coloured_source(
    scene: &Scene,
    column: Column,
    place: &RigidTransform,
) -> impl Iterator<Item = (Point, Colour)> {
    let scale = scene.residuals.scale;
    let colour = move |distance: &Option<f32>| match (column, distance) {
        (Column::Before | Column::After, _) => SOURCE,
        (Column::Distance, Some(distance)) => ramp(distance / scale),
        (Column::Distance, None) => ALONE,
    };
    let colours = scene.residuals.distances.iter().map(colour);
    placed(&scene.source.points, place).into_iter().zip(colours)
}

fn header(sheet: &mut Picture, subject: &Subject) {
    let registration = subject.registration;
    let (verdict, colour) = match registration.status {
        Status::Accepted => ("ACCEPTED", GOOD),
        Status::Rejected => ("REJECTED", BAD),
    };
    let numbers = format!(
        "confidence {:.3}   overlap {:.1} %   {} of {} matches agree   surfaces {:.4} apart (rms)",
        registration.confidence,
        100.0 * registration.overlap,
        registration.inliers,
        subject.details.matches.len(),
        registration.inlier_rmse
    );
    write(sheet, MARGIN, 30, &FONT_TITLE, colour, verdict);
    write(sheet, MARGIN + 110, 30, &FONT_10X20, INK, &numbers);
    let names = format!("{} onto {}", subject.source_name, subject.target_name);
    let line =
        if registration.reason.is_empty() { names } else { format!("{}  ({names})", registration.reason) };
    write(sheet, MARGIN, 58, &FONT_8X13, FAINT, &line);
}

fn footer(sheet: &mut Picture, subject: &Subject, scene: &Scene) {
    let base = sheet.height - 16;
    let mut left = MARGIN;
    for (name, colour) in [("source", SOURCE), ("target", TARGET)] {
        left = label(sheet, left, base, name, colour);
    }
    if let Some(gap) = scene.gap {
        write(
            sheet,
            left,
            base,
            &FONT_8X13,
            FAINT,
            &format!("drawn closer together: {gap:.1} apart in the files"),
        );
    }
    let mut left = 2 * PANEL_WIDTH + 3 * GAP + 12;
    let scale = scene.residuals.scale;
    left = write(sheet, left, base, &FONT_8X13, INK, "0");
    left = bar(sheet, left + 6, base) + 6;
    left = write(sheet, left, base, &FONT_8X13, INK, &short(scale.into())) + 24;
    left = label(sheet, left, base, "target", BACKDROP);
    label(sheet, left, base, &format!("none within {}", short(subject.details.tolerance)), ALONE);
}

/// Three significant digits, as far as they are not zero.
fn short(length: f64) -> String {
    if !length.is_normal() {
        return "0".into();
    }
    let digits = (2.0 - length.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{length:.digits$}");
    if digits == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').into() }
}

/// A square and its name; gives where the next one may begin.
fn label(sheet: &mut Picture, left: usize, base: usize, name: &str, colour: Colour) -> usize {
    sheet.insert(&Picture::new(11, 11, colour), left, base - 10);
    write(sheet, left + 17, base, &FONT_8X13, INK, name) + 24
}

/// The colours of the distances from none to the end of the scale.
fn bar(sheet: &mut Picture, left: usize, base: usize) -> usize {
    const WIDTH: usize = 160;
    for x in 0..WIDTH {
        sheet.insert(&Picture::new(1, 11, ramp(x as f32 / (WIDTH - 1) as f32)), left + x, base - 10);
    }
    left + WIDTH
}

/// Writes on one line, as far as there is room; gives where it ends. What Latin-1 has no letter for becomes a "?".
fn write(
    sheet: &mut Picture,
    left: usize,
    base: usize,
    font: &MonoFont,
    colour: Colour,
    text: &str,
) -> usize {
    let [red, green, blue] = colour;
    let style = MonoTextStyle::new(font, Rgb888::new(red, green, blue));
    let letter = font.character_size.width as usize;
    let room = sheet.width.saturating_sub(left + MARGIN) / letter;
    let line: String = if text.chars().count() <= room {
        text.into()
    } else {
        text.chars().take(room.saturating_sub(3)).chain("...".chars()).collect()
    };
    let place = Place::new(left as i32, base as i32);
    let end = match Text::new(&line, place, style).draw(sheet) {
        Ok(end) => end,
        Err(never) => match never {},
    };
    end.x as usize
}

impl OriginDimensions for Picture {
    fn size(&self) -> Size {
        Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Picture {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(place, colour) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(place.x), usize::try_from(place.y)) else { continue };
            if x < self.width && y < self.height {
                self.pixels[y * self.width + x] = [colour.r(), colour.g(), colour.b()];
            }
        }
        Ok(())
    }
}

fn encode(picture: &Picture) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width as u32, picture.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written =
        encoder.write_header().and_then(|mut writer| writer.write_image_data(picture.pixels.as_flattened()));
    written.expect("memory takes every byte, and the size is that of the picture");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::Example;

    fn column(scene: &Scene, column: Column) -> Picture {
        panel(scene, column, 0.5, 0.6)
    }

    #[test]
    fn before_after_and_distances_differ_and_none_is_empty() {
        let example = Example::new();
        let scene = Scene::new(&example.subject());
        let panels = [Column::Before, Column::After, Column::Distance].map(|c| column(&scene, c));
        for panel in &panels {
            let drawn = panel.pixels.iter().filter(|pixel| **pixel != PANEL).count();
            assert!(drawn > panel.pixels.len() / 50, "{drawn} pixels are drawn");
        }
        let differing =
            |a: &Picture, b: &Picture| a.pixels.iter().zip(&b.pixels).filter(|(a, b)| a != b).count();
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            assert!(differing(&panels[a], &panels[b]) > 1_000, "columns {a} and {b} look the same");
        }
    }

    #[test]
    fn the_file_is_a_png_of_the_picture_and_the_same_every_time() {
        let example = Example::new();
        let scene = Scene::new(&example.subject());
        let bytes = png(&example.subject(), &scene);
        assert_eq!(bytes, png(&example.subject(), &scene));
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, picture(&example.subject(), &scene).pixels.as_flattened());
    }

    #[test]
    fn lengths_are_short() {
        let lengths = [0.5, 3.567_621, 0.000_603_4, 1234.5, 100.0, 0.0, f64::NAN];
        assert_eq!(lengths.map(short), ["0.5", "3.57", "0.000603", "1234", "100", "0", "0"]);
    }

    #[test]
    fn names_of_any_length_and_letters_fit() {
        let example = Example::new();
        let long = "источник/".repeat(100);
        let subject = Subject { source_name: &long, target_name: "", ..example.subject() };
        assert!(!png(&subject, &Scene::new(&subject)).is_empty());
    }

    #[test]
    fn no_points_give_an_empty_picture() {
        let mut example = Example::new();
        example.source.points.clear();
        example.target.points.clear();
        let scene = Scene::new(&example.subject());
        assert!(column(&scene, Column::After).pixels.iter().all(|pixel| *pixel == PANEL));
    }
}
