//! What becomes of an answer on the way: cut, dripped, reset, compressed. It must not know any protocol.

use crate::frame::{Encoded, Encoder, Frame, Framing, Step};
use crate::mode::Delivery;
use crate::reply::{Act, Ending};
use crate::wire::Wire;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::time::Duration;

/// What is written of a stream, and how it ends. `error` is what it ends with if it has to fail.
pub(crate) fn stream(
    wire: &dyn Wire,
    framing: Framing,
    frames: Vec<Frame>,
    error: Frame,
    (delivery, drip): (Delivery, Duration),
) -> (Vec<Act>, Ending) {
    let framing = if delivery == Delivery::CarriageReturns { framing.with_carriage_returns() } else { framing };
    let frames = struck((wire, framing), frames, error, delivery);
    let mut encoder = Encoder::new(framing);
    // The first of many is apart, since the first of an array is written differently.
    let apart = frames.into_iter().flat_map(|frame| {
        let rest = frame.times.saturating_sub(1);
        [frame.clone().times(frame.times.min(1)), frame.times(rest)]
    });
    let apart = apart.filter(|frame| frame.times > 0);
    let mut acts: Vec<Act> = apart.map(|frame| act(encoder.encode(&frame))).collect();
    if delivery == Delivery::CarriageReturns && matches!(framing, Framing::Events { .. }) {
        acts.insert(0, Act::Write("\u{feff}".into()));
    }
    if let (Delivery::CutCall, Some(begin)) = (delivery, wire.arguments_begin()) {
        cut_behind(&mut acts, begin);
    }
    let ending = ending(delivery);
    if ending == Ending::Complete && !matches!(delivery, Delivery::NoEnd | Delivery::Eof | Delivery::HeadersOnly) {
        acts.push(Act::Write(framing.closing().into()));
    }
    (paced(acts, delivery, drip), ending)
}

/// What is written of one document, and how it ends.
pub(crate) fn whole(document: &str, delivery: Delivery, drip: Duration) -> (Vec<Act>, Ending) {
    let half = || Act::Write(crate::answer::halves(document)[0].into());
    let acts = match delivery {
        Delivery::Garbage => vec![Act::Write("{not json}".into())],
        Delivery::HeadersOnly => Vec::new(),
        Delivery::EndOnly => vec![Act::Write("{}".into())],
        Delivery::HugeBody => vec![half(), Act::Repeat { before: "x".into(), numbered: None, times: u64::MAX }],
        Delivery::Eof | Delivery::Cut | Delivery::CutCall | Delivery::Reset | Delivery::StallBody => vec![half()],
        _ => crate::answer::halves(document).map(|half| Act::Write(half.into())).to_vec(),
    };
    (paced(acts, delivery, drip), ending(delivery))
}

fn ending(delivery: Delivery) -> Ending {
    match delivery {
        Delivery::Cut | Delivery::CutCall | Delivery::Nothing | Delivery::HugeBody => Ending::Cut,
        Delivery::StallHeaders | Delivery::StallBody => Ending::Stall,
        Delivery::Reset => Ending::Reset,
        _ => Ending::Complete,
    }
}

/// The frames that are left, and those that come between.
fn struck(
    (wire, framing): (&dyn Wire, Framing),
    mut frames: Vec<Frame>,
    error: Frame,
    delivery: Delivery,
) -> Vec<Frame> {
    let behind = |frames: &[Frame], step| frames.iter().position(|frame| frame.step == step).map_or(1, |at| at + 1);
    match delivery {
        Delivery::HeadersOnly => frames.clear(),
        Delivery::NoEnd => frames.retain(|frame| frame.step != Step::End),
        Delivery::Eof | Delivery::Cut | Delivery::StallBody | Delivery::Reset => {
            frames.truncate(behind(&frames, Step::Delta));
        }
        Delivery::CutCall => frames.truncate(behind(&frames, Step::Arguments)),
        Delivery::EndOnly => frames.retain(|frame| frame.step == Step::End),
        Delivery::MidError | Delivery::Failed => {
            frames.truncate(behind(&frames, Step::Delta));
            frames.push(error);
        }
        Delivery::Garbage => {
            let at = behind(&frames, Step::Delta).min(frames.len());
            frames.insert(at, Frame::text(Step::Frame, "{not json}"));
        }
        Delivery::HugeBody => {
            frames.truncate(behind(&frames, Step::Delta));
            if let Some(last) = frames.pop() {
                frames.push(last.times(u64::MAX));
            }
        }
        Delivery::KeepAlive => {
            let sign = if framing == Framing::Array { Frame::raw("\n") } else { wire.sign_of_life() };
            frames = frames.into_iter().flat_map(|frame| [sign.clone(), frame]).collect();
        }
        _ => {}
    }
    frames
}

fn act(encoded: Encoded) -> Act {
    match encoded {
        Encoded { before, numbered: None, times: 1 } => Act::Write(before.into_bytes()),
        Encoded { before, numbered: Some((number, after)), times: 1 } => {
            Act::Write(format!("{before}{number}{after}").into_bytes())
        }
        Encoded { before, numbered, times } => Act::Repeat { before, numbered, times },
    }
}

/// Cuts the last text behind the first place where this stands in it.
fn cut_behind(acts: &mut [Act], begin: &str) {
    if let Some(Act::Write(bytes)) = acts.last_mut() {
        let at = bytes.windows(begin.len()).position(|window| window == begin.as_bytes());
        bytes.truncate(at.map_or(bytes.len() / 2, |at| at + begin.len()));
    }
}

fn paced(acts: Vec<Act>, delivery: Delivery, drip: Duration) -> Vec<Act> {
    match delivery {
        Delivery::Bytewise => bytes_of(&acts).iter().map(|byte| Act::Write(vec![*byte])).collect(),
        Delivery::Drip => acts.into_iter().flat_map(|act| dripped(act, drip)).collect(),
        Delivery::Gzip => vec![Act::Write(compressed(&bytes_of(&acts)))],
        _ => acts,
    }
}

fn dripped(act: Act, drip: Duration) -> Vec<Act> {
    let Act::Write(bytes) = act else { return vec![act] };
    let (left, right) = bytes.split_at(bytes.len() / 2);
    vec![Act::Pause(drip), Act::Write(left.to_vec()), Act::Pause(drip), Act::Write(right.to_vec())]
}

/// All that is written once; no delivery that asks for it repeats anything.
fn bytes_of(acts: &[Act]) -> Vec<u8> {
    let written = acts.iter().filter_map(|act| if let Act::Write(bytes) = act { Some(bytes.as_slice()) } else { None });
    written.collect::<Vec<_>>().concat()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A vector takes everything.
    match encoder.write_all(bytes) {
        Ok(()) => encoder.finish().unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}
