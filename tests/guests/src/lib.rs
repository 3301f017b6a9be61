//! Builds the guests of the tests once
