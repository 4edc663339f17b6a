pub mod announce;
pub mod decode;
pub mod detect;
pub mod event;
pub mod sigma;
