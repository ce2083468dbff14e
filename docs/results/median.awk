# Medians of benchmark results, a line a benchmark: awk -f docs/results/median.awk docs/results/ring.txt
/^Benchmark/ {
  for (i = 3; i < NF; i += 2) {
    key = $1 SUBSEP $(i + 1)
    if (!(key in n)) { order[++keys] = key }
    v[key, ++n[key]] = $i
  }
}
END {
  for (k = 1; k <= keys; k++) {
    key = order[k]
    split(key, part, SUBSEP)
    for (i = 2; i <= n[key]; i++) { # insertion sort: a handful of values
      x = v[key, i]
      for (j = i - 1; j >= 1 && v[key, j] + 0 > x + 0; j--) { v[key, j + 1] = v[key, j] }
      v[key, j + 1] = x
    }
    if (part[1] != last) { printf "%s%s", (k > 1 ? "\n" : ""), part[1]; last = part[1] }
    printf "  %s %s (%s..%s)", v[key, int((n[key] + 1) / 2)], part[2], v[key, 1], v[key, n[key]]
  }
  print ""
}
