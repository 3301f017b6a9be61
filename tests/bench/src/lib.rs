//! Measures Cofferdam beside its floors in one run
