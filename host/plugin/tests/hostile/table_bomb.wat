;; Grows a table until it may not, and gives up.
(table $table 1 funcref)
(func $call (export "cofferdam:tool/tool@0.1.0#call")
  (param i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32) (param $args i32) (param $len i32) (result i32)
  (loop $more
    (if (i32.eq (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable))
    (br $more))
  unreachable)
