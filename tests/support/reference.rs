//! Where tests look for reference data that is no part of the project.

/// The folder of reference data, where it lies beside the checkout or `CHORD_SHARED_DATA` names it; says so where
/// there is none.
pub fn reference_data() -> Option<std::path::PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data").into();
    let named = std::env::var_os("CHORD_SHARED_DATA").map(std::path::PathBuf::from);
    let found = [Some(beside), named].into_iter().flatten().find(|folder: &std::path::PathBuf| folder.is_dir());
    if found.is_none() {
        println!("skipped: no reference data");
    }
    found
}
