// The charts over steps: rates, losses, throughput.

function rangeOfSteps() { return [view.from, view.to]; }

function inSteps(step) { return step >= view.from && step <= view.to; }

// The values of lines that are in the range of steps.
function valuesOf(lines) {
  const values = [];
  for (const line of lines) line.ys.forEach((y, i) => isKnown(y) && inSteps(line.xs[i]) && values.push(y));
  return values;
}

function padded(low, high, share) {
  const room = (high - low) * share || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

function fromZero(lines) {
  const high = Math.max(0, ...[0].concat(valuesOf(lines)));
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
  const picture = svg('svg', {width: 26, height: 10, viewBox: '0 0 26 10', 'aria-hidden': 'true'},
    svg('g', {class: `line ${look.look} c${colour}`}, svg('path', {d: 'M1 5H25', class: 'stroke'}),
      ...(look.marker ? [shapes[look.marker](13, 5, 3)] : [])));
  return el('span', {class: 'entry'}, picture, text);
}

// Arms by their colours; paths where a narrow screen has no room for names at the lines.
function pathEntries(width) {
  if (arms.length > 1) return arms.map((arm, place) => swatch(arm, {look: 'bold'}, place % 8));
  if (width >= 560) return [];
  return shownPaths().filter(({path}) => path.steps > 0 || path.planned).map(({path, place}) => swatch(path.name, {look: 'bold'}, colourOf(place)));
}

// Rates -------------------------------------------------------------------------------------------

// The rate that the parent had at the fork, so that a branch hangs on it.
function rateAt(place, step) {
  if (place < 0) return null;
  const {rate} = data.paths[place];
  let found = null;
  rate.step.forEach((each, i) => { if (each <= step) found = rate.rate[i]; });
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
      lines.push({name: path.name, what: 'learning rate', colour, look: 'bold', xs, ys, read: true, label: planned ? null : shortName(path)});
    }
    if (planned) {
      const last = xs.length > 0 ? [[xs[xs.length - 1]], [ys[ys.length - 1]]] : [[], []];
      lines.push({name: path.name, what: 'planned rate', colour, look: 'planned', xs: [...last[0], ...planned.step], ys: [...last[1], ...planned.rate], read: true, label: shortName(path)});
    }
  }
  return lines;
}

function ratesSpec() {
  return overSteps({
    id: 'rates',
    title: 'Learning rate',
    about: () => (data.paths.some((path) => path.planned) ? 'Solid: as it was; dashed: still to come.' : ''),
    lines: rateLines,
    range: fromZero,
    showY: showRate,
    showTick: (tick) => showRate(Number(tick.toPrecision(6))),
    legend: pathEntries,
    table: () => seriesTable('learning rate', rateLines(), showRate),
  });
}

// Losses ------------------------------------------------------------------------------------------

function averageLook(name) {
  const place = averageNames().indexOf(name);
  return {look: `average average-${place % 3}`, marker: shapeNames[1 + (place % 3)]};
}

const rawLook = {look: 'raw', marker: 'circle'};

function validationLines(path, colour) {
  const lines = [], {validation} = path;
  if (validation.step.length === 0) return lines;
  const several = Object.keys(validation.averages).some((name) => view.kinds.get(name));
  if (view.kinds.get('validation')) {
    lines.push({name: path.name, what: 'validation loss', colour, ...rawLook, xs: validation.step, ys: validation.raw, read: true, label: several ? `${shortName(path)}, raw` : shortName(path)});
  }
  for (const [name, losses] of Object.entries(validation.averages)) {
    if (view.kinds.get(name)) lines.push({name: path.name, what: `validation loss of ${name}`, colour, ...averageLook(name), xs: validation.step, ys: losses, read: true, label: `${shortName(path)}, ${name}`});
  }
  return lines;
}

function trainingLines(path, colour) {
  if (!view.kinds.get('training') || path.train.step.length === 0) return [];
  const {train, mean} = path, one = mean.window === 1;
  const lines = [{name: path.name, what: 'training loss', colour, look: one ? 'bold' : 'faint', xs: train.step, ys: train.loss, read: true, label: null}];
  if (!one && mean.loss) lines.push({name: path.name, what: `training loss, mean of ${mean.window} steps`, colour, look: 'bold', xs: mean.step, ys: mean.loss, read: true, label: null});
  const hasLabel = path.validation.step.length > 0 && view.kinds.get('validation');
  lines[lines.length - 1].label = hasLabel ? null : shortName(path);
  return lines;
}

// Pale lines lie below all others, validations above them.
function lossLines() {
  const training = shownPaths().flatMap(({path, place}) => trainingLines(path, colourOf(place)));
  return [...paleFirst(training), ...shownPaths().flatMap(({path, place}) => validationLines(path, colourOf(place)))];
}

function paleFirst(lines) {
  return [...lines.filter((line) => line.look === 'faint'), ...lines.filter((line) => line.look !== 'faint')];
}

// The first steps' high losses are cut off unless all are asked for: the rest is what differs.
function lossRange(lines) {
  const all = valuesOf(lines).sort((a, b) => a - b);
  const steady = valuesOf(lines.filter((line) => line.look !== 'faint')).sort((a, b) => a - b);
  if (all.length === 0) return {x: rangeOfSteps(), y: [0, 1], cut: false};
  const low = all[0], high = all[all.length - 1], median = steady[Math.floor(steady.length / 2)] ?? high;
  const top = Math.max(steady[Math.floor(steady.length * 0.9)] ?? high, median + 1.5 * (median - low));
  const cut = !view.wholeRange && high > low + 1.35 * (top - low);
  return {x: rangeOfSteps(), y: padded(low, cut ? top : high, 0.05), cut};
}

// Spikes and losses that are not finite, at the upper edge where they are above it.
function lossMarks(frame) {
  if (!view.kinds.get('training')) return [];
  const marks = [];
  for (const {path, place} of shownPaths()) {
    path.spikes.step.forEach((step, i) => {
      const loss = path.spikes.loss[i];
      if (!inSteps(step) || !isKnown(loss)) return;
      const y = Math.max(frame.top + 5, frame.y(loss));
      marks.push(svg('g', {class: `spike c${colourOf(place)}`}, shapes.triangle(frame.x(step), y, 5), svg('title', {}, `spike at step ${step}`)));
    });
    for (const step of path.lost.filter(inSteps)) marks.push(svg('g', {class: 'lost'}, shapes.cross(frame.x(step), frame.top + 5, 4)));
  }
  return marks;
}

function lossAbout(chart) {
  const shown = view.kinds.get('training') ? shownPaths().map(({path}) => path) : [], parts = [];
  const windows = shown.filter((path) => path.mean.window > 1 && path.mean.loss).map((path) => path.mean.window);
  if (windows.length > 0) {
    const [least, most] = [Math.min(...windows), Math.max(...windows)];
    parts.push(`Pale: the loss of each step; strong: its mean over ${least === most ? least : `${least} to ${most}`} steps.`);
  }
  if (shown.some((path) => path.thinned)) parts.push('Thinned for this page: the lowest and highest loss of each stretch and every spike are kept.');
  const spikes = shown.reduce((sum, path) => sum + path.spikes.step.length, 0);
  if (spikes > 0) parts.push(`▲ ${spikes === 1 ? 'one spike' : `${showCount(spikes)} spikes`}.`);
  if (shown.some((path) => path.lost.length > 0)) parts.push('× losses that are not finite.');
  if (chart.frame.range.cut) parts.push(`Losses above ${showLoss(chart.frame.range.y[1])} are cut off.`);
  return parts.join(' ');
}

function lossLegend(width) {
  const kinds = [];
  const has = (test) => shownPaths().some(({path}) => test(path));
  if (has((path) => path.train.step.length > 0) && view.kinds.get('training')) kinds.push(swatch('training', {look: 'bold'}, 'ink'));
  if (has((path) => path.validation.step.length > 0) && view.kinds.get('validation')) kinds.push(swatch('validation, raw weights', rawLook, 'ink'));
  for (const name of averageNames()) {
    if (has((path) => path.validation.averages[name]) && view.kinds.get(name)) kinds.push(swatch(`validation, ${name}`, averageLook(name), 'ink'));
  }
  return [...kinds, ...pathEntries(width)];
}

function lossSpec() {
  return overSteps({
    id: 'losses',
    title: 'Loss',
    about: lossAbout,
    lines: lossLines,
    range: lossRange,
    marks: lossMarks,
    height: (width) => Math.round(Math.min(480, Math.max(300, width * 0.5))),
    showY: (loss, line, index) => showLoss(loss) + (line.what === 'training loss' && isSpike(line, index) ? ' (spike)' : ''),
    legend: lossLegend,
    table: () => seriesTable('loss', lossLines(), showLoss),
  });
}

function isSpike(line, index) {
  const path = data.paths.find((each) => each.name === line.name);
  return path.spikes.step.includes(line.xs[index]);
}

// Throughput --------------------------------------------------------------------------------------

function speedLines(column, what) {
  const lines = [];
  for (const {path, place} of shownPaths()) {
    const {speed, mean} = path, colour = colourOf(place);
    if (!speed[column]) continue;
    const one = mean.window === 1;
    lines.push({name: path.name, what, colour, look: one ? 'bold' : 'faint', xs: speed.step, ys: speed[column], read: true, label: one ? shortName(path) : null});
    if (!one) lines.push({name: path.name, what: `${what}, mean of ${mean.window} steps`, colour, look: 'bold', xs: mean.step, ys: mean[column], read: true, label: shortName(path)});
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
  if (has('tokens')) specs.push(speedSpec('tokens', 'Tokens a second', 'tokens a second', showShort));
  if (has('mfu')) specs.push(speedSpec('mfu', 'Share of the peak (MFU)', 'MFU', showPercent));
  else if (has('gflops')) specs.push(speedSpec('gflops', 'FLOP a second', 'FLOP a second', (value) => (isKnown(value) ? `${showShort(value * 1e9)}` : unknown)));
  return specs;
}
