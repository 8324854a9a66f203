//! The pictures of a report, as SVG.

/// One picture.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Its file's name.
    pub(crate) file: String,
    /// What it shows.
    pub(crate) title: String,
    /// The section of the summary that shows it.
    pub(crate) section: Section,
    /// The file's text.
    pub(crate) svg: String,
}

/// A section of the summary with pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// The share of the line's rate that was reached.
    Links,
    /// Times and throughput.
    Cases,
    /// Round trips.
    Latency,
    /// Time and memory by number of files.
    Growth,
}
