//! The two streams of a connection through a TCP proxy.

use std::time::Duration;

use super::mode::ModeField;

/// The direction in which bytes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// From the client to the upstream.
    Upstream,
    /// From the upstream to the client.
    Downstream,
}

impl Stream {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Upstream, Self::Downstream];

    /// The name in plans and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Downstream => "downstream",
        }
    }
}

/// The directions that a rule acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Streams {
    /// From the client to the upstream.
    Upstream,
    /// From the upstream to the client.
    #[default]
    Downstream,
    /// Both.
    Both,
}

impl Streams {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Upstream, Self::Downstream, Self::Both];

    /// The name in plans.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upstream => Stream::Upstream.name(),
            Self::Downstream => Stream::Downstream.name(),
            Self::Both => "both",
        }
    }

    /// The choice of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|streams| streams.name().eq_ignore_ascii_case(name))
    }

    /// Whether a direction is among them.
    pub fn contain(self, stream: Stream) -> bool {
        self == Self::Both || self.name() == stream.name()
    }
}

/// Fields of a rule on connections of TCP proxies, in addition to its mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnConnection {
    /// The affected directions; absent: downstream.
    pub streams: Option<Streams>,
    /// Time until a mode that ends or stops the connection, or the delay of its end.
    pub after: Option<Duration>,
    /// Time from the start of a hang to the close.
    pub close_after: Option<Duration>,
}

impl OnConnection {
    /// The name of a field that is set, if any.
    pub fn given(&self) -> Option<&'static str> {
        let fields = [
            (ModeField::Stream, self.streams.is_some()),
            (ModeField::After, self.after.is_some()),
            (ModeField::CloseAfter, self.close_after.is_some()),
        ];
        fields.into_iter().find(|(_, given)| *given).map(|(field, _)| field.name())
    }
}
