//! Replies that come in pieces: they leave as they come when it is their turn, and wait together when it is not.

use crate::backend::Ticket;

use super::{Content, Exit, Places};

impl Places {
    /// A piece of a reply; `end` marks the last.
    pub(in crate::session) fn piece(
        &mut self,
        ticket: Ticket,
        piece: &[u8],
        end: bool,
        exit: &mut Exit<'_>,
    ) {
        let index = self.index(ticket);
        let Some(place) = self.ring.get_mut(index) else { return };
        match &mut place.content {
            Content::Merging(merge) => {
                place.gathered += piece.len();
                self.waiting_bytes += piece.len();
                if merge.fold_piece(ticket.part, piece, end) {
                    self.finish_merge(index, exit);
                }
            }
            Content::Rewriting(_, pieces) => {
                pieces.extend_from_slice(piece);
                place.gathered += piece.len();
                self.waiting_bytes += piece.len();
                if end {
                    let whole = std::mem::take(pieces);
                    self.rewrite(index, &whole, exit);
                }
            }
            Content::Waiting if index == 0 => {
                let muted = place.muted;
                self.streaming = true;
                if end {
                    self.complete(0, piece, exit);
                } else {
                    self.streamed += piece.len();
                    if !muted {
                        exit.outgoing.send(piece);
                    }
                }
            }
            _ => self.keep_piece(index, piece, end, exit),
        }
    }

    /// The rest of a reply that came in pieces is lost. False: a piece has left, which cannot be taken back.
    pub(in crate::session) fn retract(&mut self, ticket: Ticket) -> bool {
        let streaming = self.streaming;
        let index = self.index(ticket);
        let Some(place) = self.ring.get_mut(index) else { return true };
        match &mut place.content {
            Content::Waiting => return index > 0 || !streaming,
            Content::Merging(merge) => {
                let gone = merge.retract(ticket.part);
                place.gathered = place.gathered.saturating_sub(gone);
                self.waiting_bytes = self.waiting_bytes.saturating_sub(gone);
            }
            Content::Rewriting(_, pieces) => {
                pieces.clear();
                self.waiting_bytes = self.waiting_bytes.saturating_sub(place.gathered);
                place.gathered = 0;
            }
            Content::Partial(pieces) => {
                let gone = pieces.len();
                place.content = Content::Waiting;
                self.waiting_bytes -= gone;
            }
            Content::Ready(_) => {}
        }
        true
    }

    fn keep_piece(&mut self, index: usize, piece: &[u8], end: bool, exit: &mut Exit<'_>) {
        let Some(place) = self.ring.get_mut(index) else { return };
        let mut so_far = match std::mem::replace(&mut place.content, Content::Waiting) {
            Content::Partial(so_far) => so_far,
            _ => Vec::new(),
        };
        self.waiting_bytes -= so_far.len();
        so_far.extend_from_slice(piece);
        if end {
            return self.complete(index, &so_far, exit);
        }
        self.waiting_bytes += so_far.len();
        place.content = Content::Partial(so_far);
    }
}
