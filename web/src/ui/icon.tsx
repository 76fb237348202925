import {
  Activity, AlarmClock, ArrowDown, ArrowDownUp, ArrowUp, ArrowUpDown, Bell, CalendarDays, CameraOff, ChevronDown, ChevronLeft, ChevronRight, ChevronUp, CircleAlert, CircleDot, Film, CircleCheck, CircleDashed, CircleX, ClipboardList, Copy, Download, DoorOpen, Gavel, Hand, LayoutGrid, ListChecks, Lock, MessageSquare, Paperclip, Pause, Pencil, Play, Plus, Radio, RotateCw, Send, SkipForward, SlidersHorizontal, Square, Type, UserCheck, UserX, Ear, Eye, EyeOff,
  House, Info, LayoutDashboard, Link, LoaderCircle, LogOut, Maximize, Mic, MicOff, Minimize, MonitorUp, MonitorX, Moon, Network, Phone,
  PhoneCall, PhoneOff, RefreshCw, Search, ScrollText, ShieldAlert, Sun, TriangleAlert, Users, Video, VideoOff, Volume2, WifiOff, X,
} from 'lucide';
import type { JSX } from 'preact';

const icons = {
  activity: Activity, down: ArrowDown, up: ArrowUp, updown: ArrowUpDown, lines: ArrowDownUp, calendar: CalendarDays, left: ChevronLeft, right: ChevronRight, plus: Plus, pencil: Pencil, paperclip: Paperclip, settings: SlidersHorizontal, bell: Bell, 'camera-off': CameraOff, 'chevron-down': ChevronDown,
  'chevron-up': ChevronUp, alert: CircleAlert, check: CircleCheck, dashed: CircleDashed, cross: CircleX, copy: Copy, download: Download, ear: Ear, eye: Eye, 'eye-off': EyeOff, house: House,
  info: Info, overview: LayoutDashboard, link: Link, loader: LoaderCircle, 'sign-out': LogOut, maximize: Maximize, mic: Mic, 'mic-off': MicOff,
  minimize: Minimize, share: MonitorUp, 'share-off': MonitorX, moon: Moon, network: Network, phone: Phone, call: PhoneCall, 'phone-off': PhoneOff,
  records: ScrollText, refresh: RefreshCw, search: Search, shield: ShieldAlert, sun: Sun, warning: TriangleAlert, users: Users, video: Video, 'video-off': VideoOff, record: CircleDot, film: Film,
  volume: Volume2, offline: WifiOff, close: X,
  clock: AlarmClock, minutes: ClipboardList, waiting: DoorOpen, chair: Gavel, hand: Hand, layout: LayoutGrid, roll: ListChecks, lock: Lock, chat: MessageSquare, pause: Pause, play: Play, air: Radio,
  poll: RotateCw, send: Send, next: SkipForward, stop: Square, text: Type, admit: UserCheck, drop: UserX,
} as const;

export type IconName = keyof typeof icons;

/** An icon beside a word is decoration; alone it needs a name on its button. */
export function Icon({ name, class: extra }: { name: IconName; class?: string }): JSX.Element {
  return (
    <svg class={extra === undefined ? 'icon' : `icon ${extra}`} viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      {icons[name].map(([Tag, attributes], index) => {
        const Element = Tag as 'path';
        return <Element key={index} {...(attributes)} />;
      })}
    </svg>
  );
}
