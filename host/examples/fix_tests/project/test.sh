# The tests of depth.sh.
. ./depth.sh
[ "$(deeper 3)" = 4 ] || { echo "deeper 3 is $(deeper 3), not 4"; exit 1; }
echo ok
