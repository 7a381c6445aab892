// Versions of a campaign: what each arm makes of the data so far, and what that costs.

function statesText(row) {
  const states = Object.entries(row.states),
        signs = ([state]) => `${stateSigns[state] ?? ''} ${state}`;
  if (states.length === 1)
    return row.seeds.length > 1 ? `${signs(states[0])}, ${row.seeds.length} seeds` :
                                  signs(states[0]);
  return states.map((state) => `${state[1]} ${state[0]}`).join(', ');
}

function scoresOn(set) {
  return data.versions.rows.map(
      (row) => ({row, score: row.scores.find((score) => score.set === set)}));
}

// The arms' losses over the versions, as a chart.
function versionNames() { return [...new Set(data.versions.rows.map((row) => row.version))]; }

function versionLines(set) {
  const names = versionNames();
  return arms
      .map((arm, place) => {
        const rows = scoresOn(set).filter(({row, score}) => row.arm === arm && score);
        return {
          name: arm,
          what: '',
          colour: place % 8,
          look: 'raw',
          marker: shapeNames[place % 4],
          read: true,
          label: arm,
          xs: rows.map(({row}) => names.indexOf(row.version)),
          ys: rows.map(({score}) => score.loss.mean),
          errors: rows.map(({score}) => score.loss.deviation)
        };
      })
      .filter((line) => line.xs.length > 0);
}

function versionRange(lines) {
  const values = lines.flatMap(
      (line) => line.ys.flatMap((y, i) => [y - (line.errors[i] ?? 0), y + (line.errors[i] ?? 0)]));
  const y = values.length > 0 ? padded(Math.min(...values), Math.max(...values), 0.08) : [0, 1];
  return {x: [-0.25, Math.max(0.25, versionNames().length - 0.75)], y};
}

function versionSpec(set, place) {
  return {
    id: `versions-${place}`,
    title: `Loss on ${set}`,
    about: () =>
        (data.versions.rows.some((row) => row.seeds.length > 1) ?
             'Mean over seeds; bars: one standard deviation.' :
             ''),
    lines: () => versionLines(set),
    range: versionRange,
    marks: () => [],
    margin: (width) => ({left: 58, right: width >= 560 ? 150 : 20, top: 12, bottom: 40}),
    height: (width) => Math.round(Math.min(340, Math.max(230, width * 0.4))),
    showX: (x) => versionNames()[x] ?? '',
    readX: (x) => versionNames()[x],
    xTicks: () => versionNames().map((_, i) => i),
    xUnit: 'version',
    showY: (loss, line, i) =>
        showLoss(loss) + (isKnown(line.errors[i]) ? ` ± ${showLoss(line.errors[i])}` : ''),
    showTick,
    legend: (width) =>
        (width >= 560 ? [] : versionLines(set).map((line) => swatch(line.name, line, line.colour))),
  };
}

function isBest({row, score}, all) {
  const rivals = all.filter((other) => other.row.version === row.version && other.score);
  return score && rivals.length > 1 &&
      rivals.every(
          (other) => score.loss.seeds === other.score.loss.seeds &&
              score.loss.mean <= other.score.loss.mean);
}

function scoresTable(set) {
  const all = scoresOn(set), {baseline} = data.versions;
  // Of fewer seeds than the version has, as long as the others are not scored.
  const partly = ({row, score}) =>
      (score.loss.seeds < row.seeds.length ? ` (${score.loss.seeds} of ${row.seeds.length})` : '');
  const spread = (name, digits) => (each) =>
      (each.score ? showSpread(each.score[name], digits(each.score[name].mean)) + partly(each) :
                    unknown);
  const four = () => 4;
  const columns = [
    {name: 'Version', cell: ({row}) => row.version},
    {name: 'Arm', cell: ({row}) => row.arm},
    {name: 'State', cell: ({row}) => statesText(row)},
    {
      name: 'Loss',
      number: true,
      cell: (each) =>
          (isBest(each, all) ? el('b', {}, spread('loss', four)(each)) : spread('loss', four)(each))
    },
    {name: 'Perplexity', number: true, cell: spread('perplexity', digitsOfPerplexity)},
    {name: 'Bits a byte', number: true, cell: spread('bits', four)},
  ];
  if (baseline)
    columns.push(
        {name: `Loss against ${baseline}`, number: true, cell: (each) => differenceText(each)});
  return makeTable(
      `Held-out text: ${set}`, columns, groupedByVersion(all), {class: 'cards scores'});
}

function groupedByVersion(all) {
  return all.map(
      (each, i) => ({...each, group: i > 0 && all[i - 1].row.version !== each.row.version}));
}

function differenceText({row, score}) {
  if (row.arm === data.versions.baseline) return 'baseline';
  if (!score || !isKnown(score.difference.mean)) return unknown;
  const {mean, deviation} = score.difference;
  return showDifference(mean) + (isKnown(deviation) ? ` ± ${showLoss(deviation)}` : '');
}

function costTable() {
  const columns = [
    {name: 'Version', cell: ({row}) => row.version},
    {name: 'Arm', cell: ({row}) => row.arm},
    {name: 'State', cell: ({row}) => statesText(row)},
    {name: 'Steps counted', number: true, cell: ({row}) => showSteps(row.counted)},
    {name: 'Planned', number: true, cell: ({row}) => showSteps(row.planned)},
    {name: 'Redone', number: true, cell: ({row}) => showSteps(row.redone)},
    {name: 'Replayed', number: true, cell: ({row}) => showSteps(row.replayed)},
    {
      name: 'Of pre-training from scratch',
      number: true,
      cell: ({row}) => showPercent(row.share.mean) +
          (isKnown(row.share.mean) && row.share_is_planned ? ' planned' : '')
    },
  ];
  return makeTable(
      'Steps and costs, from the arm’s first step up to and with the version', columns,
      groupedByVersion(data.versions.rows.map((row) => ({row}))), {id: 'costs'});
}

// Bars: what is counted of what is planned.
function armsTable() {
  const most =
      Math.max(1, ...data.versions.arms.map((arm) => Math.max(arm.planned.mean, arm.counted.mean)));
  const bar = (arm) => el(
      'span', {class: 'bar', 'aria-hidden': 'true'},
      el('span', {class: 'planned', style: `width:${100 * arm.planned.mean / most}%`}), el('span', {
        class: `counted c${arms.indexOf(arm.arm) % 8}`,
        style: `width:${100 * arm.counted.mean / most}%`
      }));
  const columns = [
    {name: 'Arm', cell: (arm) => arm.arm},
    {name: 'Steps', cell: bar},
    {name: 'Counted', number: true, cell: (arm) => showSteps(arm.counted)},
    {name: 'Planned', number: true, cell: (arm) => showSteps(arm.planned)},
    {name: 'Redone', number: true, cell: (arm) => showSteps(arm.redone)},
    {name: 'Replayed', number: true, cell: (arm) => showSteps(arm.replayed)},
  ];
  return makeTable(
      'Optimizer steps of each arm, a seed', columns, data.versions.arms,
      {id: 'arms', class: 'cards arms'});
}

function versionSection() {
  const {sets} = data.versions;
  const section = el('section', {id: 'versions'}, el('h2', {}, 'Versions'));
  section.append(
      el('div', {class: 'pair'}, ...sets.map((set, i) => makeChart(versionSpec(set, i)).figure)));
  for (const set of sets)
    section.append(
        el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Scores on ${set}`},
           scoresTable(set)));
  section.append(
      el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Costs'}, costTable()),
      armsTable());
  section.append(el(
      'p', {class: 'about'},
      'Redone: made, and lost to a kill or given up. Replayed: made again on the way to a fork point that was not saved. Neither is among the steps counted. From scratch: pre-training every version up to this one on all data so far. ± is the standard deviation over seeds; differences are taken seed by seed.'));
  return section;
}
