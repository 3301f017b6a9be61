;; Hangs before anybody has called it.
(func $start (loop $again (br $again)))
(start $start)
