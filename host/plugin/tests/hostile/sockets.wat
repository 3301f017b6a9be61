;; Wants the network without asking the host.
(import "wasi:sockets/instance-network@0.2.3" "instance-network" (func $network (result i32)))
(func $use (drop (call $network)))
