//! What one worker adds to the counts that INFO shows.

use super::super::label::{Family, Outcome, Rejection};
use super::super::{FamilyTotals, Totals};
use super::WorkerMetrics;

impl WorkerMetrics {
    pub(in crate::metrics) fn add_to(&self, totals: &mut Totals) {
        let series = &self.series;
        totals.connections_received += series.sessions_opened.get();
        totals.rejected_connections += series.sessions_rejected.at(Rejection::MaxClients).get();
        totals.connected_clients += u64::try_from(series.sessions.get()).unwrap_or(0);
        totals.blocked_clients += u64::try_from(series.blocked.get()).unwrap_or(0);
        totals.bytes_in += series.client_read.get();
        totals.bytes_out += series.client_written.get();
        for (family, sum) in Family::ALL.into_iter().zip(&mut totals.families) {
            let requests = series.requests.at(family);
            let count = |outcome| requests.at(outcome).get();
            let calls: u64 = Outcome::ALL.into_iter().map(count).sum();
            totals.commands_processed += calls;
            *sum = FamilyTotals {
                calls: sum.calls + calls,
                micros: sum.micros + series.request_seconds.at(family).sum(),
                failed: sum.failed + count(Outcome::Error) + count(Outcome::Uncertain),
                rejected: sum.rejected + count(Outcome::Refused),
            };
        }
    }
}
