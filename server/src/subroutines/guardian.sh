# Reads `+ GROUP` and `- GROUP`, and ends the process groups that are left when nobody can write any more.
trap '' HUP INT QUIT TERM
groups=' '
while read -r change group; do
    case $change in
        +) groups="$groups$group " ;;
        -) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
signal() { for group in $groups; do kill -s "$1" -- "-$group"; done; }
signal TERM
# Two seconds. A group that has ended is not looked at again: its number may come to be another's.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    left=' '
    for group in $groups; do kill -s 0 -- "-$group" && left="$left$group "; done
    groups=$left
    [ "$groups" = ' ' ] && exit
    sleep 0.1
done
signal KILL
