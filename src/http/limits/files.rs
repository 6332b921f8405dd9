//! The limit of open files: raised at the start, and divided.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are neither connections nor calls: listeners, logs, event queues, the
/// database's files, and what is open for a moment.
const OTHERS: usize = 100;

/// Least number of connections, however small the limit of open files is.
const FEWEST: usize = 16;

/// Raises this process's soft limit of open files to the hard one. Returns the new limit; the
/// largest number if there is none.
pub fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let holds = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(event = "files.limit_not_raised", %error, "the limit of open files cannot be raised");
            limit.current
        }
    };
    holds.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// The division of the limit of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileDescriptorBudget {
    limit: usize,
    /// Descriptors set aside for outgoing calls and the database.
    reserved: usize,
    /// Connections wanted by the settings.
    wanted: usize,
    /// Descriptors for connections: no more are accepted.
    pub open_at_once: usize,
    /// Connections that are kept: beyond this, one is ended for each new one.
    pub kept: usize,
}

impl FileDescriptorBudget {
    /// Divides a limit of open files.
    pub fn new(limit: usize, reserved: usize, wanted: usize) -> Self {
        let open_at_once = limit.saturating_sub(reserved + OTHERS).max(FEWEST);
        Self {
            limit,
            reserved,
            wanted,
            open_at_once,
            // A connection that is ended takes a moment to be closed.
            kept: wanted.min(open_at_once / 4 * 3),
        }
    }

    /// Logs the figures, and exports them as metrics.
    pub fn announce(&self) {
        let figure = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        metrics::gauge!("herald_file_limit").set(figure(self.limit));
        metrics::gauge!("herald_http_connections_limit").set(figure(self.kept));
        let Self {
            limit,
            reserved,
            wanted,
            kept,
            ..
        } = *self;
        if kept < wanted {
            tracing::warn!(
                event = "files.limit_small",
                limit,
                reserved,
                connections = kept,
                wanted,
                "the limit of open files allows fewer connections than HERALD_HTTP_CONNECTIONS: raise it (LimitNOFILE=, ulimit -n)"
            );
        } else {
            tracing::info!(
                event = "files.limit",
                limit,
                reserved,
                connections = kept,
                "the limit of open files was divided: `reserved` for calls and the database, and as many `connections` are kept"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FileDescriptorBudget, raise_limit};
    use rustix::process::{Resource, getrlimit};

    #[test]
    fn the_soft_limit_is_the_hard_one_afterwards() {
        let holds = raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(
            limit.maximum.unwrap_or(u64::MAX),
            u64::try_from(holds).unwrap()
        );
    }

    #[test]
    fn connections_leave_descriptors_for_calls_and_the_database() {
        for (limit, open_at_once, kept) in
            [(524_288, 523_666, 4096), (1024, 402, 300), (256, 16, 12)]
        {
            let shares = FileDescriptorBudget::new(limit, 522, 4096);
            assert_eq!((shares.open_at_once, shares.kept), (open_at_once, kept));
        }
    }
}
