//! All names. They are what dashboards and alerts are made of: none changes its meaning.

/// Metrics that differ in their labels only.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// For Prometheus. A counter's ends in `_total`, and only a counter's.
    pub name: &'static str,
    /// What it says, for people.
    pub help: &'static str,
    /// Whether it can go down.
    pub kind: Kind,
    /// For Graphite, below the prefix; `{label}` stands for a label's value. `None`: not sent.
    pub path: Option<&'static str>,
}

/// Whether a metric can go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A total since the service was started, over all of its workers.
    Counter,
    /// How it is now.
    Gauge,
}

macro_rules! families {
    ($($kind:ident $constant:ident $name:literal $path:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: Family =
                Family { name: $name, help: $help, kind: Kind::$kind, path: $path };
        )*
        /// All families.
        pub static ALL: &[&Family] = &[$(&$constant),*];
    };
}

families! {
    // By listener: in = rejected + blocked + consumed + unrouted + routed.
    Counter LINES_IN "baton_lines_in_total" Some("listeners.{listener}.in"),
        "Lines that came in, empty ones not counted.";
    Counter LINES_REJECTED "baton_lines_rejected_total" Some("listeners.{listener}.rejected.{reason}"),
        "Lines that were rejected, by reason.";
    Counter LISTENER_BLOCKED "baton_listener_lines_blocked_total" Some("listeners.{listener}.blocked"),
        "Lines that the blocklist dropped, by listener.";
    Counter LINES_CONSUMED "baton_lines_consumed_total" Some("listeners.{listener}.consumed"),
        "Lines that an aggregation took, and let go no further.";
    Counter LINES_UNROUTED "baton_lines_unrouted_total" Some("listeners.{listener}.unrouted"),
        "Lines that no destination took.";
    Counter LINES_ROUTED "baton_lines_routed_total" Some("listeners.{listener}.routed"),
        "Lines that at least one destination took.";
    Counter COPIES "baton_copies_total" Some("listeners.{listener}.copies"),
        "Lines routed, times the destinations that took them.";
    Counter LOST_BY_CRASH "baton_lost_by_crash_bytes_total" Some("listeners.{listener}.lost_by_crash_bytes"),
        "Bytes that a killed worker had read and not queued, with the rest of the lines that were cut.";
    Counter UNREAD_AT_STOP "baton_unread_at_stop_bytes_total" Some("listeners.{listener}.unread_at_stop_bytes"),
        "Bytes that a stop left unread.";
    Gauge CONNECTIONS "baton_connections" Some("listeners.{listener}.connections"),
        "Connections that are open.";
    Counter ACCEPTED "baton_connections_accepted_total" Some("listeners.{listener}.accepted"),
        "Connections that were accepted.";
    Counter CLOSED "baton_connections_closed_total" Some("listeners.{listener}.closed"),
        "Connections that have ended.";
    Counter INPUT_BYTES "baton_input_bytes_total" Some("listeners.{listener}.bytes"),
        "Bytes that were read.";
    Counter KERNEL_DROPPED "baton_kernel_dropped_total" Some("listeners.{listener}.kernel_dropped"),
        "Datagrams that the kernel dropped because they came faster than they were read.";

    Counter LINES_BLOCKED "baton_lines_blocked_total" Some("blocklist.{rule}.lines"),
        "Lines that a rule of the blocklist dropped.";
    Counter ROUTE_LINES "baton_route_lines_total" Some("routes.{route}.lines"),
        "Lines that a route took.";

    // By aggregation: points + restored = flushed + open + lost.
    Counter AGGREGATION_POINTS "baton_aggregation_points_total" Some("aggregations.{aggregation}.points"),
        "Points that an aggregation took into windows.";
    Counter AGGREGATION_REFUSED "baton_aggregation_refused_total" Some("aggregations.{aggregation}.refused.{reason}"),
        "Points that went into no window, by reason.";
    Counter AGGREGATION_RESTORED "baton_aggregation_restored_points_total" Some("aggregations.{aggregation}.restored_points"),
        "Points in windows that were kept over a stop.";
    Counter AGGREGATION_FLUSHED "baton_aggregation_flushed_points_total" Some("aggregations.{aggregation}.flushed_points"),
        "Points of windows that were closed, and whose lines went to the routes.";
    Counter AGGREGATION_LOST "baton_aggregation_lost_points_total" Some("aggregations.{aggregation}.lost_points"),
        "Points of windows that were lost, with a killed worker or with their aggregation.";
    Counter AGGREGATION_WINDOWS "baton_aggregation_windows_total" Some("aggregations.{aggregation}.windows"),
        "Windows that were closed.";
    Counter AGGREGATION_LINES "baton_aggregation_lines_total" Some("aggregations.{aggregation}.lines"),
        "Lines that came of closed windows.";
    Gauge AGGREGATION_OPEN "baton_aggregation_open_windows" Some("aggregations.{aggregation}.open_windows"),
        "Windows that are open.";
    Gauge AGGREGATION_OPEN_POINTS "baton_aggregation_open_points" Some("aggregations.{aggregation}.open_points"),
        "Points in open windows.";

    // By destination: given + imported = acknowledged + queued + spooled + moved + dropped.
    Counter GIVEN "baton_destination_given_total" Some("destinations.{destination}.given"),
        "Lines that routes gave to a destination.";
    Counter ACKNOWLEDGED "baton_destination_acknowledged_total" Some("destinations.{destination}.acknowledged"),
        "Lines that a destination's kernel acknowledged, or that were written to its file.";
    Counter SENT "baton_destination_sent_total" Some("destinations.{destination}.sent"),
        "Lines that were written for the first time.";
    Counter RESENT "baton_destination_resent_total" Some("destinations.{destination}.resent"),
        "Lines that were written again after a lost connection.";
    Counter LINES_DROPPED "baton_lines_dropped_total" Some("dropped.{reason}"),
        "Lines that destinations dropped, by reason, those included that have gone.";
    Counter DROPPED "baton_destination_dropped_total" Some("destinations.{destination}.dropped.{reason}"),
        "Lines that were dropped, by reason.";
    Gauge QUEUED_LINES "baton_destination_queued_lines" Some("destinations.{destination}.queued_lines"),
        "Lines in the queue.";
    Counter IMPORTED "baton_destination_imported_total" Some("destinations.{destination}.imported"),
        "Lines found in a destination's spool that no route gave it since the service was started.";
    Counter MOVED "baton_destination_moved_total" Some("destinations.{destination}.moved"),
        "Lines that were queued for a destination, and given to another of its route since it was down.";
    Gauge SPOOLED_LINES "baton_destination_spooled_lines" Some("destinations.{destination}.spooled_lines"),
        "Lines in the spool of a destination, beside those in its queue.";
    Gauge SPOOL_ROWS "baton_spool_rows" Some("destinations.{destination}.spool_rows"),
        "Rows that the database has of a destination, those included whose lines are in the queue.";
    Gauge SPOOL_BYTES "baton_spool_bytes" Some("destinations.{destination}.spool_bytes"),
        "Bytes of lines that the database has of a destination, those included that are in the queue.";
    Gauge SPOOL_LIMIT "baton_spool_limit_bytes" Some("destinations.{destination}.spool_limit_bytes"),
        "Bytes of lines that spool_max lets the database have of a destination; absent unless it spools.";
    Gauge QUEUED_BYTES "baton_destination_queued_bytes" Some("destinations.{destination}.queued_bytes"),
        "Bytes in the queue.";
    Gauge QUEUE_BYTES "baton_destination_queue_bytes" Some("destinations.{destination}.queue_bytes"),
        "The size of the queue.";
    Gauge DROPS_WHEN_FULL "baton_destination_drops_when_full" Some("destinations.{destination}.drops_when_full"),
        "1 if lines that find the queue full are dropped, 0 if they are spooled or their senders wait.";
    Gauge OLDEST_AGE "baton_destination_oldest_age_seconds" Some("destinations.{destination}.oldest_age_seconds"),
        "Age of the oldest line in the queue; 0 when it is empty.";
    Gauge UP "baton_destination_up" Some("destinations.{destination}.up"),
        "1 while it is connected, 0 while it isn't.";
    Counter CONNECTS "baton_destination_connects_total" Some("destinations.{destination}.connects"),
        "Connections made, or times the file was opened.";
    Counter CONNECT_FAILURES "baton_destination_connect_failures_total" Some("destinations.{destination}.connect_failures"),
        "Attempts to connect that failed.";
    Counter DISCONNECTS "baton_destination_disconnects_total" Some("destinations.{destination}.disconnects"),
        "Connections lost.";

    Gauge STATE_OK "baton_state_ok" Some("state.ok"),
        "1 while the database takes lines, 0 while it doesn't: then spool_full says what happens.";
    Gauge STATE_FILE_BYTES "baton_state_file_bytes" Some("state.file_bytes"),
        "The length of the database's file.";
    Gauge STATE_FREE_BYTES "baton_state_free_bytes" Some("state.free_bytes"),
        "Bytes of the database's file that are free.";
    Gauge STATE_LIMIT "baton_state_limit_bytes" Some("state.limit_bytes"),
        "How much of the database's file may be in use: max_size without the part that is for its log.";
    Gauge STATE_WAL_BYTES "baton_state_wal_bytes" Some("state.wal_bytes"),
        "The length of the database's write-ahead log.";

    Gauge SUBSCRIBERS "baton_subscribers" Some("subscribers.now"),
        "How many look at what flows.";
    Counter SUBSCRIBER_LINES_LOST "baton_subscriber_lines_lost_total" Some("subscribers.lines_lost"),
        "Lines that were lost to who looks at what flows, since there was no room or no time for them.";
    Counter WRONG_TOKENS "baton_wrong_tokens_total" Some("wrong_tokens"),
        "Wrong tokens that were said over HTTP and telnet.";

    Gauge GENERATION "baton_generation" Some("generation"),
        "The number of the worker that answers, counted from 1.";
    Counter RESTARTS "baton_restarts_total" Some("restarts"),
        "Workers that were started after the first one, whatever became of them.";
    Gauge HANDOVER_PAUSE "baton_handover_pause_seconds" Some("handover_pause_seconds"),
        "How long the last hand-over kept anyone waiting; absent before the first one.";
    Gauge KEPT "baton_kept" Some("kept"),
        "1 while all that the supervisor holds would outlive it, 0 while not all of it would; absent where nobody keeps it.";
    Gauge SERVING "baton_serving" Some("serving"),
        "1 while the worker serves, 0 before and while it is stopping.";
    Gauge BUILD_INFO "baton_build_info" None,
        "Always 1; what runs is in the labels.";
}
