#!/usr/bin/env bash
# Makes the loops that native venues publish, from ffmpeg's own test sources. Needs ffmpeg with libvpx and libopus.
# Six venues, each recognisable by its own background colour and its own pair of tones; three simulcast layers each,
# three seconds at 30 frames/s, one keyframe at the start, two VP8 temporal layers (every second frame is referenced
# by nobody and may be dropped). The files are committed; run this only to change them.
set -euo pipefail
cd "$(dirname "$0")/loops"
seconds=3
rate=30
colours=(0xc0392b 0x2471a3 0x1e8449 0xd68910 0x7d3c98 0x117a65) # red blue green orange purple teal
low=(440 494 554 587 659 740)
high=(660 740 830 880 988 1108)

video() { # venue layer width height kbit/s
  local venue=$1 layer=$2 width=$3 height=$4 rate_k=$5
  local inset_w=$((width * 5 / 8 / 2 * 2)) inset_h=$((height * 5 / 8 / 2 * 2))
  local base=$((rate_k * 60 / 100))
  ffmpeg -nostdin -v error -y \
    -f lavfi -i "color=${colours[$venue]}:size=${width}x${height}:rate=$rate:duration=$seconds" \
    -f lavfi -i "testsrc2=size=${inset_w}x${inset_h}:rate=$rate:duration=$seconds" \
    -filter_complex "[0][1]overlay=x=(W-w)/2:y=(H-h)/2,drawbox=x=0:y=ih*15/16:w=iw:h=ih/32:color=white@0.6:t=fill,format=yuv420p" \
    -c:v libvpx -b:v "${rate_k}k" -maxrate "${rate_k}k" -bufsize "$((rate_k / 2))k" -g 9999 -keyint_min 9999 \
    -deadline good -cpu-used 1 -lag-in-frames 0 -auto-alt-ref 0 -error-resilient 1 -undershoot-pct 95 -max-intra-rate 600 \
    -ts-parameters "ts_number_layers=2:ts_target_bitrate=$base,$rate_k:ts_rate_decimator=2,1:ts_periodicity=2:ts_layer_id=0,1:ts_layering_mode=2" \
    -threads 1 -fflags +bitexact -flags:v +bitexact -f ivf "venue$venue-$layer.ivf"
}

audio() { # venue name filter
  ffmpeg -nostdin -v error -y -f lavfi -i "$3" -ac 1 -ar 48000 -c:a libopus -b:a 32k -vbr off -application voip \
    -frame_duration 20 -page_duration 20000 -fflags +bitexact -flags:a +bitexact -f ogg "$2.ogg"
}

for venue in 0 1 2 3 4 5; do
  video "$venue" l 320 180 100
  video "$venue" m 640 360 300
  video "$venue" h 1280 720 900
  # Two tones, one of them pulsing, with a whole number of periods per loop.
  audio "$venue" "venue$venue-voice" "aevalsrc=0.25*sin(2*PI*${low[$venue]}*t)+0.2*sin(2*PI*${high[$venue]}*t)*(0.5+0.5*sin(2*PI*4*t)):s=48000:d=2"
done
audio 0 silence "anullsrc=r=48000:cl=mono:d=1"
du -ch ./*.ivf ./*.ogg | tail -1
