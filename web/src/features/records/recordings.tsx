import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, deleteRecording, recordingAudio, recordings } from '../../api/http';
import type { Cdr, Recording } from '../../api/types';
import { mayDelete, mayListen } from '../../console/session';
import { formatDuration, formatMomentSeconds, texts } from '../../i18n';
import { Icon } from '../../ui/icon';
import { say } from '../../ui/toast';

/** What was recorded of a call: a player, files to keep, and why there is none although the rules wanted one. */
export function Recordings({ call, kept }: { call: string; kept: Cdr | null }): JSX.Element | null {
  const t = texts.value.recordings;
  const [found, setFound] = useState<Recording[]>([]);
  useEffect(() => {
    let current = true;
    recordings(call).then((list) => { if (current) setFound(list); }, () => { if (current) setFound([]); });
    return () => { current = false; };
  }, [call]);
  const why = kept?.recording?.reason ?? '';
  if (found.length === 0 && why === '') return null;
  return (
    <section data-testid="recordings">
      <h3>{t.title}</h3>
      {why !== '' && <p class="tone-warning" data-testid="recording-missing">{t.missing(why)}</p>}
      {[...found].sort((a, b) => a.part - b.part).map((one) => (
        <One key={one.id} recording={one} onDeleted={() => { setFound(found.filter((other) => other.id !== one.id)); }} />
      ))}
    </section>
  );
}

/** Who began a recording, in the reader's words: the rules, a telephone, or somebody at the console. */
function whoBegan(by: string): string {
  const t = texts.value.recordings;
  const [, kind = '', name = ''] = /^(recording rules|recording rule |phone )(.*)$/.exec(by) ?? [];
  switch (kind) {
    case 'recording rules': return t.rules;
    case 'recording rule ': return t.rule(name);
    case 'phone ': return t.phone(name);
    default: return t.person(by);
  }
}

function One({ recording: r, onDeleted }: { recording: Recording; onDeleted: () => void }): JSX.Element {
  const t = texts.value.recordings;
  const [playing, setPlaying] = useState(false);
  const [asked, setAsked] = useState(false);
  const remove = async (): Promise<void> => {
    if (!asked) {
      setAsked(true);
      return;
    }
    try {
      await deleteRecording(r.id);
      say(t.deleted);
      onDeleted();
    } catch (error) {
      say(error instanceof ApiError && error.detail !== '' ? error.detail : t.failed, false);
    }
  };
  const notes = [r.encrypted ? t.encrypted : '', r.announced ? t.announced : '', r.keys_omitted ? t.keysOmitted : '', r.missing_packets > 0 ? t.lost(r.missing_packets) : ''];
  return (
    <div class="recording" data-testid="recording" data-id={r.id} data-state={r.state}>
      <p>
        <strong>{formatMomentSeconds(new Date(r.started_at))}</strong> · {r.state === 'recording' ? t.goesOn : formatDuration(r.duration_seconds)} · {t.by(whoBegan(r.started_by))}
      </p>
      <p class="muted small">{notes.filter((note) => note !== '').join(' · ')}</p>
      {r.undecodable.length > 0 && <p class="tone-warning small">{t.undecodable(r.undecodable.join(', '))}</p>}
      {mayListen() && playing && <audio controls autoplay preload="auto" src={recordingAudio(r.id, 'wav', false)} data-testid="recording-player" aria-label={t.title} />}
      <p class="buttons">
        {mayListen() && !playing && (
          <button type="button" class="button small" onClick={() => { setPlaying(true); }} data-testid="recording-play"><Icon name="volume" />{t.listen}</button>
        )}
        {mayListen() && (['wav', 'flac'] as const).map((format) => (
          <a key={format} class="button small" href={recordingAudio(r.id, format, true)} download data-testid={`recording-${format}`}><Icon name="download" />{format.toUpperCase()}</a>
        ))}
        {mayDelete() && r.state === 'kept' && (
          <button type="button" class={`button small ${asked ? 'danger' : ''}`} onClick={() => void remove()} data-testid="recording-delete"><Icon name="cross" />{asked ? t.confirm : t.remove}</button>
        )}
        {!mayListen() && <span class="muted small">{t.forbidden}</span>}
      </p>
    </div>
  );
}
