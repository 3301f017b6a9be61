;; What a guest of any kind has unless its code says otherwise. A line that begins with four semicolons begins a part;
;; the name after it is the export that replaces it.

;;;; memory
(memory (export "memory") 2)

;;;; cabi_realloc
(global $top (mut i32) (i32.const 65536))
(func $realloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
  (global.set $top (i32.add (local.get $at) (local.get $size)))
  (block $fits
    (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
    (br_if $fits (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536))))))
    unreachable)
  (local.get $at))

;;;; data
(data (i32.const 0) "test/guest")
(data (i32.const 16) "0.1.0")
(data (i32.const 32) "a guest of the tests")
(data (i32.const 64) "run")
(data (i32.const 72) "runs")
(data (i32.const 80) "{\22type\22:\22object\22}")
;; description {id, version, summary, config-schema: none}
(data (i32.const 128) "\00\00\00\00\0a\00\00\00" "\10\00\00\00\05\00\00\00" "\20\00\00\00\14\00\00\00" "\00\00\00\00")
;; a list of one tool-def {name, title: none, description, input-schema, output-schema: none, effects, examples: []}
(data (i32.const 192) "\d0\00\00\00\01\00\00\00")
(data (i32.const 208) "\40\00\00\00\03\00\00\00" "\00\00\00\00\00\00\00\00\00\00\00\00" "\48\00\00\00\04\00\00\00"
  "\50\00\00\00\11\00\00\00" "\00\00\00\00\00\00\00\00\00\00\00\00" "\00\00\00\00" "\00\00\00\00\00\00\00\00")
(data (i32.const 288) "{\22ok\22:true}")
;; ok(tool-output {value: json({"ok":true}), summary: none})
(data (i32.const 320) "\00\00\00\00\00\00\00\00" "\00\00\00\00" "\20\01\00\00\0b\00\00\00" "\00\00\00\00\00\00\00\00\00\00\00\00")

;;;; cofferdam:plugin/lifecycle@0.1.0#describe
(func $describe (export "cofferdam:plugin/lifecycle@0.1.0#describe") (result i32) (i32.const 128))

;;;; $fail
;; err(plugin-error {kind, code: none, message, ..none}): the answer of every function that may fail.
(func $fail (param $kind i32) (param $text i32) (param $size i32) (result i32)
  (i64.store (i32.const 520) (i64.const 0))
  (i32.store (i32.const 512) (i32.const 1))
  (i32.store8 (i32.const 520) (local.get $kind))
  (i32.store (i32.const 536) (local.get $text))
  (i32.store (i32.const 540) (local.get $size))
  (i32.const 512))
