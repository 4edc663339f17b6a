pub mod alert;
pub mod announce;
pub mod clock;
pub mod decode;
pub mod detect;
pub mod event;
pub mod metrics;
pub mod sigma;
