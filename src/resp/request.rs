//! One command as received: its bytes and where its arguments stand in them.
