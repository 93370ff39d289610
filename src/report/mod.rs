//! Reports for people: one pair as a web page or a picture, many pairs as a table.
//!
//! A page is one file that needs no network: clouds, style and code are in it. What it shows of the answer is the same
//! [`Answer`] that `--json` writes. The same input gives the same bytes.

mod answer;
mod batch;
#[cfg(test)]
mod example;
mod page;
mod palette;
mod raster;
mod residuals;
mod scene;
mod settings;
mod stills;
mod template;
mod thin;
mod why;

use std::time::Duration;

pub use answer::Answer;
pub use batch::{BatchRow, batch_page};

use crate::cloud::Cloud;
use crate::config::Config;
use crate::registration::{Details, Registration};
use scene::Scene;

/// What a report of one pair is about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What the source is called: its file, as the user gave it.
    pub source_name: &'a str,
    /// What the target is called.
    pub target_name: &'a str,
    /// The cloud that is moved.
    pub source: &'a Cloud,
    /// The cloud that stays.
    pub target: &'a Cloud,
    /// The answer.
    pub registration: &'a Registration,
    /// What it rests on.
    pub details: &'a Details,
    /// The settings it was found with.
    pub config: &'a Config,
    /// Time for reading both clouds, as in [`Answer::new`].
    pub read: Duration,
    /// Time from the start to the answer.
    pub total: Duration,
}

/// The report of one pair.
pub struct PairReport<'a> {
    subject: Subject<'a>,
    scene: Scene,
}

impl<'a> PairReport<'a> {
    /// Thins the clouds to what a picture can show, and measures how far they are apart.
    pub fn new(subject: Subject<'a>) -> Self {
        Self { subject, scene: Scene::new(&subject) }
    }

    /// One self-contained HTML file.
    pub fn html(&self) -> String {
        page::html(&self.subject, &self.scene)
    }

    /// Stills before, after, and coloured by distance, from two sides, as the bytes of a PNG file. Drawn without a GPU.
    pub fn png(&self) -> Vec<u8> {
        stills::png(&self.subject, &self.scene)
    }
}
