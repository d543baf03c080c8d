"""The program that is PID 1 of a container: it starts commands on request, and reaps what they leave.

It is a shell script because the one program that every image must have is bash. Requests come in by a named
pipe, one a line: `run N`, `ask N` (to end), `kill N`. Everything of a command lies in a folder that is
read-only inside: its words in `N.words` (directory, number of variables, variables, argument list, each ended
by a NUL), its streams in the pipes `N.in`, `N.out` and `N.err`; the exit code is written to `N.exit`.

The script runs as the same user as the commands, so what it says is not believed: it can only lie to those
who subverted it. It ends when the worker does, because then the requests come to their end.
"""

from typing import Final

CONTROL: Final = "/overnight/control"
"""Where the folder is inside."""

SCRIPT: Final = r"""
set -m
control=$1
exec 9<"$control/requests" </dev/null >/dev/null 2>&1
cd /
serve() {
    trap : TERM INT HUP
    exec 8>"$control/$1.exit" 9<&-
    (
        exec 8>&- <"$control/$1.in" >"$control/$1.out" 2>"$control/$1.err"
        mapfile -d '' -t words <"$control/$1.words"
        cd -- "${words[0]}" || exit 126
        # Not by env(1): its argument list, with what may be secret, would be for all to see.
        for name in $(compgen -e); do unset -- "$name"; done
        for ((count = words[1], at = 2; at < count + 2; at++)); do export -- "${words[at]}"; done
        exec -- "${words[@]:at}"
    )
    echo $? >&8
}
declare -A groups
while IFS=' ' read -r -u 9 what number; do
    case $what in
        run) serve "$number" & groups[$number]=$! ;;
        ask) kill -TERM -- "-${groups[$number]}" ;;
        kill) kill -KILL -- "-${groups[$number]}" ;;
        forget) unset "groups[$number]" ;;
    esac
done
"""
