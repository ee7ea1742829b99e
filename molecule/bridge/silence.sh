#!/bin/sh
# The longest time in seconds that a unit has said nothing, up to now.
set -eu
journalctl --quiet --output=short-unix --unit="$1" |
    awk -v now="$(date +%s.%N)" '
        NR > 1 && $1 - last > longest { longest = $1 - last }
        { last = $1 }
        END { if (now - last > longest) longest = now - last; printf "%.1f", longest }'
