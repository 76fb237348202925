import { render } from 'preact';
import '../styles/base.css';
import '../styles/console.css';
import '../styles/planned.css';
import '../styles/overview.css';
import { startClock } from '../ui/clock';
import { followSystem } from '../ui/scheme';
import { App } from './app';
import { keepHistory } from './history';
import { interceptLinks } from './router';
import { enter } from './session';

const root = document.getElementById('app');
if (root !== null) {
  startClock();
  followSystem();
  interceptLinks();
  keepHistory();
  render(<App />, root);
  void enter();
}
