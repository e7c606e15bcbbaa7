//! Gives up everything a compile job does not need, then becomes the job.
