//! Which record has which file in a report's directory, and how precisely its figures are kept there.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    figures::kept,
    record::{Call, Growth, Latency, Progress, Run, Sharing},
};

/// A record with a file of its own in the directory.
pub trait Row: Serialize + DeserializeOwned {
    /// The name of its file.
    const FILE: &'static str;

    /// Rounds its floats to what is kept of them: the file stays small, and no figure shows more.
    fn round(&mut self);
}

impl Row for Run {
    const FILE: &'static str = "raw.csv";

    fn round(&mut self) {
        for value in [
            &mut self.wall_seconds,
            &mut self.client_user_seconds,
            &mut self.client_system_seconds,
            &mut self.server_user_seconds,
            &mut self.server_system_seconds,
        ] {
            *value = kept(*value);
        }
    }
}

impl Row for Progress {
    const FILE: &'static str = "progress.csv";

    fn round(&mut self) {
        self.seconds = kept(self.seconds);
    }
}

impl Row for Latency {
    const FILE: &'static str = "latency.csv";

    fn round(&mut self) {
        for value in [&mut self.quantile, &mut self.microseconds, &mut self.bulk_bytes_per_second] {
            *value = kept(*value);
        }
    }
}

impl Row for Growth {
    const FILE: &'static str = "growth.csv";

    fn round(&mut self) {
        for value in [&mut self.wall_seconds, &mut self.client_cpu_seconds, &mut self.server_cpu_seconds] {
            *value = kept(*value);
        }
    }
}

impl Row for Sharing {
    const FILE: &'static str = "sharing.csv";

    fn round(&mut self) {
        self.seconds = kept(self.seconds);
    }
}

impl Row for Call {
    const FILE: &'static str = "calls.csv";

    fn round(&mut self) {
        for value in [
            &mut self.seconds,
            &mut self.p50_microseconds,
            &mut self.p99_microseconds,
            &mut self.p999_microseconds,
            &mut self.client_cpu_seconds,
            &mut self.server_cpu_seconds,
            &mut self.bulk_bytes_per_second,
        ] {
            *value = kept(*value);
        }
    }
}
