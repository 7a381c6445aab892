// The chart of losses: of training, and of validations with raw and averaged weights.

function averageLook(name) {
  const place = averageNames().indexOf(name);
  return {look: `average average-${place % 3}`, marker: shapeNames[1 + (place % 3)]};
}

const rawLook = {
  look: 'raw',
  marker: 'circle'
};

function validationLines(path, colour) {
  const lines = [], {validation} = path;
  if (validation.step.length === 0) return lines;
  const several = Object.keys(validation.averages).some((name) => view.kinds.get(name));
  if (view.kinds.get('validation')) {
    lines.push({
      name: path.name,
      what: 'validation loss',
      colour,
      ...rawLook,
      xs: validation.step,
      ys: validation.raw,
      read: true,
      label: several ? `${shortName(path)}, raw` : shortName(path)
    });
  }
  for (const [name, losses] of Object.entries(validation.averages)) {
    if (view.kinds.get(name))
      lines.push({
        name: path.name,
        what: `validation loss of ${name}`,
        colour,
        ...averageLook(name),
        xs: validation.step,
        ys: losses,
        read: true,
        label: `${shortName(path)}, ${name}`
      });
  }
  return lines;
}

function trainingLines(path, colour) {
  if (!view.kinds.get('training') || path.train.step.length === 0) return [];
  const {train, mean} = path, one = mean.window === 1;
  const lines = [{
    name: path.name,
    what: 'training loss',
    colour,
    look: one ? 'bold' : 'faint',
    xs: train.step,
    ys: train.loss,
    read: true,
    label: null
  }];
  if (!one && mean.loss)
    lines.push({
      name: path.name,
      what: `training loss, mean of ${mean.window} steps`,
      colour,
      look: 'bold',
      xs: mean.step,
      ys: mean.loss,
      read: true,
      label: null
    });
  const hasLabel = path.validation.step.length > 0 && view.kinds.get('validation');
  lines[lines.length - 1].label = hasLabel ? null : shortName(path);
  return lines;
}

// Pale lines lie below all others, validations above them.
function lossLines() {
  const training = shownPaths().flatMap(({path, place}) => trainingLines(path, colourOf(place)));
  return [
    ...paleFirst(training),
    ...shownPaths().flatMap(({path, place}) => validationLines(path, colourOf(place)))
  ];
}

function paleFirst(lines) {
  return [
    ...lines.filter((line) => line.look === 'faint'),
    ...lines.filter((line) => line.look !== 'faint')
  ];
}

// The first steps' high losses are cut off unless all are asked for: the rest is what differs.
function lossRange(lines) {
  const all = valuesOf(lines).sort((a, b) => a - b);
  const steady = valuesOf(lines.filter((line) => line.look !== 'faint')).sort((a, b) => a - b);
  if (all.length === 0) return {x: rangeOfSteps(), y: [0, 1], cut: false};
  const low = all[0], high = all[all.length - 1],
        median = steady[Math.floor(steady.length / 2)] ?? high;
  const top =
      Math.max(steady[Math.floor(steady.length * 0.9)] ?? high, median + 1.5 * (median - low));
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
      marks.push(
          svg('g', {class: `spike c${colourOf(place)}`}, shapes.triangle(frame.x(step), y, 5),
              svg('title', {}, `spike at step ${step}`)));
    });
    for (const step of path.lost.filter(inSteps))
      marks.push(svg('g', {class: 'lost'}, shapes.cross(frame.x(step), frame.top + 5, 4)));
  }
  return marks;
}

function lossAbout(chart) {
  const shown = view.kinds.get('training') ? shownPaths().map(({path}) => path) : [], parts = [];
  const windows = shown.filter((path) => path.mean.window > 1 && path.mean.loss)
                      .map((path) => path.mean.window);
  if (windows.length > 0) {
    const [least, most] = [Math.min(...windows), Math.max(...windows)];
    parts.push(`Pale: the loss of each step; strong: its mean over ${
        least === most ? least : `${least} to ${most}`} steps.`);
  }
  if (shown.some((path) => path.thinned))
    parts.push(
        'Thinned for this page: the lowest and highest loss of each stretch and every spike are kept.');
  const spikes = shown.reduce((sum, path) => sum + path.spikes.step.length, 0);
  if (spikes > 0) parts.push(`▲ ${spikes === 1 ? 'one spike' : `${showCount(spikes)} spikes`}.`);
  if (shown.some((path) => path.lost.length > 0)) parts.push('× losses that are not finite.');
  if (chart.frame.range.cut)
    parts.push(`Losses above ${showLoss(chart.frame.range.y[1])} are cut off.`);
  return parts.join(' ');
}

function lossLegend(width) {
  const kinds = [];
  const has = (test) => shownPaths().some(({path}) => test(path));
  if (has((path) => path.train.step.length > 0) && view.kinds.get('training'))
    kinds.push(swatch('training', {look: 'bold'}, 'ink'));
  if (has((path) => path.validation.step.length > 0) && view.kinds.get('validation'))
    kinds.push(swatch('validation, raw weights', rawLook, 'ink'));
  for (const name of averageNames()) {
    if (has((path) => path.validation.averages[name]) && view.kinds.get(name))
      kinds.push(swatch(`validation, ${name}`, averageLook(name), 'ink'));
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
    showY: (loss, line, index) =>
        showLoss(loss) + (line.what === 'training loss' && isSpike(line, index) ? ' (spike)' : ''),
    legend: lossLegend,
    table: () => seriesTable('loss', lossLines(), showLoss),
  });
}

function isSpike(line, index) {
  const path = data.paths.find((each) => each.name === line.name);
  return path.spikes.step.includes(line.xs[index]);
}
