import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, deleteProgramme, programme, programmePart } from '../../api/http';
import type { Chapter, ProgrammeDetails } from '../../api/types';
import { mayDelete, mayWatch } from '../../console/session';
import { formatDuration, formatMomentSeconds, nameOf, texts } from '../../i18n';
import { Drawer } from '../../ui/drawer';
import { Icon } from '../../ui/icon';
import { say } from '../../ui/toast';
import { Exports } from './exports';
import { Player } from './player';
import { formatSize } from './size';

const againMs = 2000;

/** One recorded meeting: the player with its chapters, the files, and exports. */
export function Details({ id, title, onClose, onDeleted }: { id: string; title: string; onClose: () => void; onDeleted: () => void }): JSX.Element {
  const t = texts.value.programmes;
  const [details, setDetails] = useState<ProgrammeDetails | 'failed' | null>(null);
  const [seek, setSeek] = useState<{ second: number; turn: number } | null>(null);
  const busy = details !== null && details !== 'failed' && (details.state === 'recording' || details.files.some((file) => file.ended_at === null) || details.exports.some((one) => one.state === 'waiting' || one.state === 'running'));
  const refresh = (): void => {
    programme(id).then(setDetails, () => { setDetails((before) => before ?? 'failed'); });
  };
  useEffect(refresh, [id]);
  useEffect(() => {
    if (!busy) return undefined;
    const timer = setInterval(refresh, againMs);
    return () => { clearInterval(timer); };
  }, [busy, id]);
  return (
    <Drawer title={title} onClose={onClose} testid="programme-details" wide>
      {details === null && <p class="muted" aria-busy="true">{texts.value.shell.loading}</p>}
      {details === 'failed' && <p class="tone-failure" role="alert">{t.failed}</p>}
      {details !== null && details !== 'failed' && (
        <>
          <Facts details={details} />
          {mayWatch() ? <Player details={details} seek={seek} /> : <p class="muted">{t.forbidden}</p>}
          <Chapters list={details.chapters} onChoose={(second) => { setSeek({ second, turn: (seek?.turn ?? 0) + 1 }); }} />
          <Files details={details} />
          {mayWatch() && <Exports details={details} onChange={refresh} />}
          {mayDelete() && details.state === 'kept' && <Remove id={id} onDeleted={onDeleted} />}
        </>
      )}
    </Drawer>
  );
}

function Facts({ details: d }: { details: ProgrammeDetails }): JSX.Element {
  const t = texts.value.programmes;
  const facts = [formatMomentSeconds(new Date(d.started_at)), d.state === 'recording' ? t.goesOn : formatDuration(d.duration_seconds), nameOf(d.started_by), t.parts(d.parts), formatSize(d.size_bytes), d.encrypted ? t.encrypted : '', d.reason === '' || d.reason === 'stopped' ? '' : t.reasons[d.reason] ?? d.reason];
  return <p data-testid="programme-facts" data-state={d.state} data-parts={d.parts}>{facts.filter((fact) => fact !== '').join(' · ')}</p>;
}

/** What a chapter is called. */
export function chapterText(c: Chapter): string {
  const t = texts.value.programmes;
  if (c.kind === 'picture') return t.picture(nameOf(c.name));
  if (c.kind === 'content') return t.content(nameOf(c.name));
  const acts: Record<string, string> = texts.value.meeting.actions;
  return [nameOf(c.name), acts[c.action] ?? c.action, nameOf(c.target)].filter((word) => word !== '').join(' ');
}

function Chapters({ list, onChoose }: { list: readonly Chapter[]; onChoose: (second: number) => void }): JSX.Element | null {
  const t = texts.value.programmes;
  if (list.length === 0) return null;
  return (
    <section data-testid="programme-chapters">
      <h3>{t.chapters}</h3>
      <ol class="chapters">
        {list.map((chapter, index) => (
          <li key={index}>
            <button type="button" class="button quiet" disabled={!mayWatch()} data-kind={chapter.kind} data-testid="programme-chapter" onClick={() => { onChoose(chapter.offset_seconds); }}>
              <span class="chapter-at">{formatDuration(chapter.offset_seconds)}</span>
              <Icon name={chapter.kind === 'act' ? 'chair' : chapter.kind === 'content' ? 'share' : 'video'} />
              <span>{chapterText(chapter)}</span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Files({ details: d }: { details: ProgrammeDetails }): JSX.Element {
  const t = texts.value.programmes;
  return (
    <section data-testid="programme-files">
      <h3>{t.files}</h3>
      <ul class="files">
        {d.files.map((file) => (
          <li key={file.number} data-testid="programme-file" data-cut={file.cut_off}>
            <span>
              {file.number}. {file.member === '' ? t.programme : nameOf(file.name)} · {file.ended_at === null ? t.goesOn : formatDuration(file.duration_seconds)} · {file.video_codec === '' ? t.soundAlone : `${file.video_codec} ${String(file.width)}×${String(file.height)}`}
              {file.size_bytes > 0 && ` · ${formatSize(file.size_bytes)}`}
              {file.cut_off && <small class="muted"> {t.cutOff}</small>}
            </span>
            {mayWatch() && file.ended_at !== null && <a class="button small" href={programmePart(d.id, file.number, 'file', true)} download><Icon name="download" />MKV</a>}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Remove({ id, onDeleted }: { id: string; onDeleted: () => void }): JSX.Element {
  const t = texts.value.programmes;
  const [asked, setAsked] = useState(false);
  const remove = async (): Promise<void> => {
    if (!asked) {
      setAsked(true);
      return;
    }
    try {
      await deleteProgramme(id);
      say(t.deleted);
      onDeleted();
    } catch (error) {
      say(error instanceof ApiError && error.detail !== '' ? error.detail : t.failed, false);
    }
  };
  return <p class="buttons"><button type="button" class={`button small ${asked ? 'danger' : ''}`} onClick={() => void remove()} data-testid="programme-delete"><Icon name="cross" />{asked ? t.confirm : t.remove}</button></p>;
}
