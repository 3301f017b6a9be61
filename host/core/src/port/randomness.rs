//! The only chance there is: it spreads out retries, nothing else.

/// Gives random numbers. Scripted in tests.
pub trait Randomness: Send + Sync {
    /// A number from 0 (included) to 1 (excluded).
    fn unit(&self) -> f64;
}
