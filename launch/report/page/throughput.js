// The charts of throughput.

function speedLines(column, what) {
  const lines = [];
  for (const {path, place} of shownPaths()) {
    const {speed, mean} = path, colour = colourOf(place);
    if (!speed[column]) continue;
    const one = mean.window === 1;
    lines.push({
      name: path.name,
      what,
      colour,
      look: one ? 'bold' : 'faint',
      xs: speed.step,
      ys: speed[column],
      read: true,
      label: one ? shortName(path) : null
    });
    if (!one)
      lines.push({
        name: path.name,
        what: `${what}, mean of ${mean.window} steps`,
        colour,
        look: 'bold',
        xs: mean.step,
        ys: mean[column],
        read: true,
        label: shortName(path)
      });
  }
  return paleFirst(lines);
}

function speedSpec(column, title, what, showValue) {
  return overSteps({
    id: `speed-${column}`,
    title,
    about: () => '',
    lines: () => speedLines(column, what),
    range: fromZero,
    height: (width) => Math.round(Math.min(300, Math.max(210, width * 0.4))),
    showY: showValue,
    showTick: (tick) => showValue(tick),
    legend: pathEntries,
    table: () => seriesTable(what, speedLines(column, what), showValue),
  });
}

function speedSpecs() {
  const has = (column) => data.paths.some((path) => path.speed[column]);
  const specs = [];
  if (has('tokens'))
    specs.push(speedSpec('tokens', 'Tokens a second', 'tokens a second', showShort));
  if (has('mfu'))
    specs.push(speedSpec('mfu', 'Share of the peak (MFU)', 'MFU', showPercent));
  else if (has('gflops'))
    specs.push(speedSpec(
        'gflops', 'FLOP a second', 'FLOP a second',
        (value) => (isKnown(value) ? `${showShort(value * 1e9)}` : unknown)));
  return specs;
}
