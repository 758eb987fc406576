//! HTTP for machines and people.
