import type { JSX } from 'preact';
import { topics } from '../../api/live';
import type { Line, LineDirection } from '../../api/types';
import { lineHistory } from '../../console/history';
import { formatRate, texts } from '../../i18n';
import { Badge } from '../../ui/badge';
import { Empty } from '../../ui/empty';
import { Icon } from '../../ui/icon';
import { Gauge, Legend, lineTones } from './bar';
import { gaugeParts, lineWord, usedBps } from './gauge';
import { History } from './history';

export function Lines(): JSX.Element {
  const t = texts.value.line;
  const lines = topics.lines.value?.lines ?? null;
  if (lines === null) return <div class="panel" aria-busy="true" />;
  if (lines.length === 0) return <div class="panel"><Empty icon="lines" title={t.empty} hint={t.emptyHint} /></div>;
  return (
    <div class="lines" data-testid="lines">
      <div class="panel lines-legend">
        <Legend />
        <span class="muted small">{t.patternHint}</span>
      </div>
      {lines.map((line) => <LineCard key={line.site} line={line} />)}
    </div>
  );
}

function LineCard({ line }: { line: Line }): JSX.Element {
  const t = texts.value.line;
  const word = lineWord(line);
  return (
    <section class="panel line-card" id={line.site} data-testid={`line-${line.site}`} data-line={word}>
      <div class="panel-head">
        <h2>{line.name}</h2>
        <Badge tone={lineTones[word]}>{t.words[word]}</Badge>
      </div>
      <p class="line-sentence">{word === 'none' ? '' : t.sentence[word]}</p>
      <div class="line-directions" data-testid={`line-gauge-${line.site}`}>
        {(['up', 'down'] as const).map((side) => <Direction key={side} line={line} side={side} direction={line[side]} />)}
      </div>
      <p class="muted small line-refused">{t.refused(line.refused_total)}</p>
    </section>
  );
}

function Direction({ line, side, direction }: { line: Line; side: 'up' | 'down'; direction: LineDirection }): JSX.Element {
  const t = texts.value.line;
  const samples = lineHistory.value.get(line.site) ?? [];
  return (
    <div class="line-direction">
      <div class="line-head">
        <span><Icon name={side} /> {side === 'up' ? t.upLong : t.downLong}</span>
        <span class="line-rate"><strong>{formatRate(usedBps(direction))}</strong> / {formatRate(direction.capacity_bps)}</span>
      </div>
      <Gauge name={line.name} side={side} direction={direction} />
      {direction.below_contract !== 'no' && (
        <p class="line-below" role="status" data-testid={`line-below-${line.site}-${side}`}>
          <Icon name="warning" />
          {direction.below_contract === 'slow'
            ? t.below.slow(formatRate(direction.estimated_bps), formatRate(direction.capacity_bps))
            : t.below.lossy(direction.loss_percent)}
        </p>
      )}
      <table class="class-table">
        <thead>
          <tr><th scope="col">{t.className}</th><th scope="col">{t.reserved}</th><th scope="col">{t.measured}</th></tr>
        </thead>
        <tbody>
          {gaugeParts(direction).map((part) => (
            <tr key={part.kind}>
              <th scope="row"><span class={`swatch class-${part.kind}`} />{t.classes[part.kind]}</th>
              <td>{part.kind === 'free' ? formatRate(direction.free_bps) : formatRate(part.kind === 'office' ? direction.office_reserve_bps : part.reservedBps)}</td>
              <td>{part.kind === 'free' || part.kind === 'office' ? '–' : formatRate(part.measuredBps)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <History
        capacity={direction.capacity_bps}
        samples={samples.map((sample) => side === 'up'
          ? { at: sample.at, reserved: sample.upReserved, measured: sample.upMeasured }
          : { at: sample.at, reserved: sample.downReserved, measured: sample.downMeasured })}
      />
    </div>
  );
}
