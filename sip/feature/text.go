package feature

import (
	"fmt"
	"strings"
)

// phrase is something that a phone's display shows: short, because a display has one line of 20 to
// 30 places, and complete without its context.
type phrase struct{ zh, en string }

//nolint:gochecknoglobals // a constant dictionary
var (
	sayForwardOn      = phrase{"%s转移至 %s", "%s to %s"}
	sayForwardOff     = phrase{"%s已取消", "%s off"}
	sayForwardsOff    = phrase{"全部转移已取消", "All forwards off"}
	sayNoNumber       = phrase{"未设置转移号码", "No forward number"}
	sayDNDOn          = phrase{"免打扰已开", "Do not disturb on"}
	sayDNDOff         = phrase{"免打扰已关", "Do not disturb off"}
	sayWaitingOn      = phrase{"呼叫等待已开", "Call waiting on"}
	sayWaitingOff     = phrase{"呼叫等待已关", "Call waiting off"}
	sayBlockOn        = phrase{"拒接匿名已开", "Anonymous blocked"}
	sayBlockOff       = phrase{"拒接匿名已关", "Anonymous accepted"}
	sayBossOn         = phrase{"秘书代接已开", "Secretary on"}
	sayBossOff        = phrase{"秘书代接已关", "Secretary off"}
	sayNoBoss         = phrase{"未设置秘书", "No secretary set"}
	sayStored         = phrase{"快拨 %s = %s", "Speed dial %s = %s"}
	sayCleared        = phrase{"快拨 %s 已删除", "Speed dial %s deleted"}
	sayNoSpeed        = phrase{"快拨 %s 未设置", "Speed dial %s is empty"}
	sayNoLastCaller   = phrase{"没有来电记录", "No last caller"}
	sayWithheld       = phrase{"来电号码已隐藏", "Caller's number withheld"}
	sayGuest          = phrase{"%s 已登录", "%s logged in"}
	sayGuestGone      = phrase{"%s 已退出", "%s logged out"}
	sayNoGuest        = phrase{"无人登录", "Nobody logged in"}
	sayWrongPIN       = phrase{"分机或密码错误", "Wrong extension or PIN"}
	sayLocked         = phrase{"尝试过多，请稍后", "Too many tries, wait"}
	sayGroupIn        = phrase{"已加入组 %s", "In group %s"}
	sayGroupOut       = phrase{"已退出组 %s", "Out of group %s"}
	sayNoGroup        = phrase{"不是组成员", "Not a group member"}
	sayCompletion     = phrase{"%s 空闲后回叫", "%s: will call back"}
	sayNoCompletion   = phrase{"没有可回叫的号码", "Nothing to call back"}
	sayManyWishes     = phrase{"回叫过多", "Too many call backs"}
	sayCompletionsOff = phrase{"已取消回叫 %d 个", "Call backs off: %d"}
	sayNotStored      = phrase{"保存失败", "Not stored"}
	sayNotAllowed     = phrase{"%s 不允许", "%s not allowed"}
	sayNotServed      = phrase{"功能未开通", "Feature not served"}
	sayNotForYou      = phrase{"本机无此功能", "Not for this phone"}
	sayWrongInput     = phrase{"输入有误", "Wrong input"}
	sayClaimed        = phrase{"本机将成为 %s", "This becomes %s"}
	sayEcho           = phrase{"回声测试，# 结束", "Echo test, # ends"}
	sayRecordingOn    = phrase{"录音开始", "Recording on"}
	sayRecordingOff   = phrase{"录音停止", "Recording off"}
	sayNoRecording    = phrase{"本通话不能录音", "Cannot be recorded"}
	sayNothingSet     = phrase{"未设置功能", "Nothing set"}
)

// kindNames are the forwards as people call them.
func kindName(k Kind) phrase {
	switch k {
	case Busy:
		return phrase{"遇忙", "Busy"}
	case NoAnswer:
		return phrase{"无应答", "No answer"}
	case Unreachable:
		return phrase{"离线", "Unreachable"}
	case AfterHours:
		return phrase{"定时", "After hours"}
	case Always:
	}
	return phrase{"无条件", "Forward"}
}

// say writes a phrase in the appliance's language.
func (s *Service) say(p phrase, args ...any) string {
	text := p.en
	chinese := strings.HasPrefix(strings.ToLower(s.o.Language()), "zh")
	if chinese {
		text = p.zh
	}
	for i, a := range args {
		if inner, ok := a.(phrase); ok {
			args[i] = inner.en
			if chinese {
				args[i] = inner.zh
			}
		}
	}
	return fmt.Sprintf(text, args...)
}

// summary is one line of everything that is on.
func (s *Service) summary(own Settings) string {
	var parts []string
	if own.DoNotDisturb {
		parts = append(parts, s.say(sayDNDOn))
	}
	for _, k := range kinds() {
		if f := own.forward(k); f.On {
			parts = append(parts, s.say(sayForwardOn, kindName(k), f.To))
		}
	}
	if own.Boss.On {
		parts = append(parts, s.say(sayBossOn))
	}
	if own.CallLimit == 1 {
		parts = append(parts, s.say(sayWaitingOff))
	}
	if own.BlockAnonymous {
		parts = append(parts, s.say(sayBlockOn))
	}
	if len(parts) == 0 {
		return s.say(sayNothingSet)
	}
	return strings.Join(parts, ", ")
}
