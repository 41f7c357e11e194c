//! Integrator: snapshot is being written on main; do not write it. When watches work and are committed, stop and report.
