//! Turns `proto/*.proto` into Rust. Pure Rust: no `protoc` needed.

fn main() {
    println!("cargo:rerun-if-changed=proto");
    protobuf_codegen::Codegen::new()
        .pure()
        .include("proto")
        .inputs([
            "proto/common.proto",
            "proto/schema.proto",
            "proto/log.proto",
            "proto/api.proto",
            "proto/wal.proto",
            "proto/pulsar.proto",
        ])
        .cargo_out_dir("pb")
        .run_from_script();
}
