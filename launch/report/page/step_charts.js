// What charts over steps have in common, and the chart of rates.

function rangeOfSteps() { return [view.from, view.to]; }

function inSteps(step) { return step >= view.from && step <= view.to; }

// The values of lines that are in the range of steps.
function valuesOf(lines) {
  const values = [];
  for (const line of lines)
    line.ys.forEach((y, i) => isKnown(y) && inSteps(line.xs[i]) && values.push(y));
  return values;
}

function padded(low, high, share) {
  const room = (high - low) * share || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

function fromZero(lines) {
  const high = valuesOf(lines).reduce((most, value) => Math.max(most, value), 0);
  return {x: rangeOfSteps(), y: [0, high * 1.08 || 1]};
}

// What all charts over steps have in common.
function overSteps(spec) {
  return {
    marks: () => [],
    margin: (width) => ({left: 58, right: width >= 560 ? 130 : 20, top: 12, bottom: 40}),
    height: (width) => Math.round(Math.min(380, Math.max(240, width * 0.42))),
    showX: showShort,
    readX: (x) => `step ${showCount(x)}`,
    xUnit: 'step',
    showTick: showTick,
    ...spec,
  };
}

function swatch(text, look, colour) {
  const picture =
      svg('svg', {width: 26, height: 10, viewBox: '0 0 26 10', 'aria-hidden': 'true'},
          svg('g', {class: `line ${look.look} c${colour}`},
              svg('path', {d: 'M1 5H25', class: 'stroke'}),
              ...(look.marker ? [shapes[look.marker](13, 5, 3)] : [])));
  return el('span', {class: 'entry'}, picture, text);
}

// Arms by their colours; paths where a narrow screen has no room for names at the lines.
function pathEntries(width) {
  const drawn = shownPaths().filter(({path}) => path.steps > 0 || path.planned);
  if (arms.length > 1) {
    const has = (arm) => drawn.some(({place}) => colourOf(place) === arms.indexOf(arm) % 8);
    return arms.filter(has).map((arm) => swatch(arm, {look: 'bold'}, arms.indexOf(arm) % 8));
  }
  if (width >= 560) return [];
  return drawn.map(
      ({path, place}) => swatch(clipped(path.name, 32), {look: 'bold'}, colourOf(place)));
}

// The rate that the parent had at the fork, so that a branch hangs on it.
function rateAt(place, step) {
  if (place < 0) return null;
  const {rate} = data.paths[place];
  let found = null;
  rate.step.forEach((each, i) => {
    if (each <= step) found = rate.rate[i];
  });
  return found;
}

function rateLines() {
  const lines = [];
  for (const {path, place} of shownPaths()) {
    const colour = colourOf(place), {rate, planned} = path;
    const atFork = path.rate.step.length > 0 || planned ? rateAt(path.parent, path.fork) : null;
    const head = isKnown(atFork) ? [[path.fork], [atFork]] : [[], []];
    const xs = [...head[0], ...rate.step], ys = [...head[1], ...rate.rate];
    if (rate.step.length > 0) {
      lines.push({
        name: path.name,
        what: 'learning rate',
        colour,
        look: 'bold',
        xs,
        ys,
        read: true,
        label: planned ? null : shortName(path)
      });
    }
    if (planned) {
      const last = xs.length > 0 ? [[xs[xs.length - 1]], [ys[ys.length - 1]]] : [[], []];
      lines.push({
        name: path.name,
        what: 'planned rate',
        colour,
        look: 'planned',
        xs: [...last[0], ...planned.step],
        ys: [...last[1], ...planned.rate],
        read: true,
        label: shortName(path)
      });
    }
  }
  return lines;
}

function ratesSpec() {
  return overSteps({
    id: 'rates',
    title: 'Learning rate',
    about: () =>
        (data.paths.some((path) => path.planned) ? 'Solid: as it was; dashed: still to come.' : ''),
    lines: rateLines,
    range: fromZero,
    showY: showRate,
    showTick: (tick) => showRate(Number(tick.toPrecision(6))),
    legend: pathEntries,
    table: () => seriesTable('learning rate', rateLines(), showRate),
  });
}
